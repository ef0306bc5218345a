"""The public face of deflation."""

from __future__ import annotations

from typing import Any

from hessop.operators.adapt import face_of
from hessop.operators.algebra import deflated


def deflate(A: Any, w: Any, v: Any) -> Any:
    """
    The operator with known eigenpairs moved to zero.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `aslinearoperator` takes.
    w : array_like, shape (k,)
        Eigenvalues to take away.
    v : array_like, shape (n, k)
        Their orthonormal eigenvectors, in columns. Copied.

    Returns
    -------
    ProductOperator
        ``A - v diag(w) v^T``, on the device of `A`; a CuPy operator where `A` is CuPy's.

    Raises
    ------
    TypeError
        If `A`, `w` or `v` is complex.
    ValueError
        If the shapes do not fit, or `w` or `v` is not finite.

    See Also
    --------
    hessop.lanczos : Its ``lock=`` keeps known vectors out without changing the operator.

    Notes
    -----
    Hotelling's deflation (Parlett, *The Symmetric Eigenvalue Problem*, 1998, section 5.1). The
    pairs move to zero only as exactly as they are known: an error in them stays in the operator.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> A = np.diag([1.0, 2.0, 5.0])
    >>> B = hessop.deflate(A, [5.0], np.array([0.0, 0.0, 1.0]))
    >>> B @ np.ones(3)
    array([1., 2., 0.])
    """
    whole = face_of(A)
    return whole._again(deflated(whole.product, w, v))
