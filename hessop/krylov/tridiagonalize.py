"""A sweep on its own: the tridiagonal projection and its basis."""

from __future__ import annotations

from typing import Any

from hessop import _validation
from hessop._results import Tridiagonal
from hessop.krylov import reorthogonalization
from hessop.krylov.entrance import locked_basis, start_vector
from hessop.krylov.sweep import Sweep
from hessop.operators import enter


def tridiagonalize(
    A: Any,
    v0: Any,
    m: int,
    *,
    reorth: str = "double",
    lock: Any = None,
    rng: Any = None,
) -> Tridiagonal:
    """
    Lanczos' reduction of a symmetric operator to tridiagonal form.

    After `m` steps ``A V = V T + beta v e_m^T`` with orthonormal ``V`` and tridiagonal ``T``.

    Parameters
    ----------
    A : operator or matrix, shape (n, n)
        Anything that `hessop.aslinearoperator` takes; real symmetric.
    v0 : array_like, shape (n,), or None
        First direction, not zero; random for None. Not written.
    m : int
        Number of steps, ``1 <= m <= n`` less the locked vectors; `m` products.
    reorth : {"none", "full", "double", "selective"}, optional
        How the vectors are kept orthogonal. "none": not at all; converged eigenvalues come back
        as ghosts. "full": one pass of Gram-Schmidt per step against all earlier vectors.
        "double" (default): two, which leaves ``||V^T V - I||`` at rounding. "selective": passes
        only where the estimated loss reaches ``sqrt(eps)``; ``max |V^T V - I|`` stays near it,
        and ``T`` is the projection to rounding.
    lock : array_like, shape (n, l), optional
        Vectors to stay orthogonal to: ``A`` is seen on their complement.
    rng : None, int or numpy.random.Generator, optional
        Where the Krylov space of `v0` is exhausted before `m` steps, the sweep goes on in a
        random direction, drawn from here, with a zero in `beta`.

    Returns
    -------
    Tridiagonal
        ``alpha``, ``beta`` and ``basis``.

    Raises
    ------
    ValueError
        If an argument is out of range, `v0` is zero or in the span of `lock`, or `A` turns out
        not to be symmetric.
    TypeError
        If something is complex.
    FloatingPointError
        If a product is NaN or Inf.

    See Also
    --------
    hessop.lanczos : Eigenpairs, with restarts and a convergence test.
    hessop.slq : Spectral density from such sweeps.

    Notes
    -----
    "none", "full" and "double" are Algorithms 3, 2 and 4 of [1]_; "selective" is the partial
    reorthogonalization of [2]_.

    References
    ----------
    .. [1] N. Ilieva, "Spectral Properties of Neural Network Architectures and Optimization",
       EPFL, 2025.
    .. [2] H. D. Simon, "The Lanczos algorithm with partial reorthogonalization", Mathematics of
       Computation 42, 1984.

    Examples
    --------
    >>> import numpy as np
    >>> import hessop
    >>> t = hessop.tridiagonalize(np.diag([1.0, 2.0, 3.0]), np.ones(3), 3)
    >>> np.round(t.eigh()[0], 12)
    array([1., 2., 3.])
    """
    product, give = enter(A)
    space = product.space()
    _validation.choice("reorth", reorth, reorthogonalization.METHODS)
    locked = locked_basis(space, lock)
    m = _validation.integer("m", m, 1, product.n - len(locked))
    generator = _validation.rng(rng)
    sweep = Sweep(space, start_vector(space, v0, locked, generator), reorth=reorth, lock=locked)
    product.expect(m)
    for _ in range(m):
        if not sweep.waiting:
            sweep.fresh(generator)
        sweep.absorb(product.matmat(sweep.vector()[None])[0])
    alpha, beta = sweep.tridiagonal()
    return Tridiagonal(alpha, beta, give(sweep.basis.stack(m)).T)
