"""The bootstrap: how leading eigenpairs depend on which data there happened to be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hessop import _progress, _validation
from hessop._results import EigenResult
from hessop._space import children
from hessop.krylov.lanczos import lanczos
from hessop.krylov.wanted import Which, wanted
from hessop.operators import enter
from hessop.perturbation.coordinates import COORDINATES, Resample, leading
from hessop.perturbation.resamples import Bootstrap, largest_angle
from hessop.perturbation.searches import refuse


def bootstrap(
    build: Callable[[NDArray[np.int64]], Any],
    n_examples: int,
    k: int = 6,
    *,
    which: Which = "LM",
    n_resamples: int = 20,
    subspace: int | None = None,
    coordinates: str = "parameters",
    warm: bool = True,
    tol: float = 1e-4,
    rng: Any = None,
    progress: bool = False,
    **options: Any,
) -> Bootstrap:
    r"""
    Leading eigenpairs over resamples of the data, drawn with replacement.

    The nonparametric bootstrap: what changes from resample to resample changes as much from one
    data set of this size to the next [1]_.

    Parameters
    ----------
    build : callable
        ``build(indices)`` gives the operator on the examples with these numbers, an int64 array of
        length `n_examples` in which some come several times and some not at all.
    n_examples : int
        How many examples there are, at least 1.
    k : int, optional
        How many eigenpairs. Default 6.
    which : {"LM", "LA", "SA", "BE", "SM"} or callable, optional
        Which, as in `hessop.lanczos`. Default "LM".
    n_resamples : int, optional
        How many, at least 1. Resample i is the same however many are drawn. Default 20.
    subspace : int, optional
        How many of the leading eigenvectors span the subspace whose angles are measured, at most
        `k`. Default: all.
    coordinates : {"parameters", "examples"}, optional
        What an entry of an eigenvector belongs to: a parameter, which is the same in all resamples
        (default: Hessian, GGN, Fisher), or an example of the resample, or an output of it (the
        tangent kernel, example by example).
    warm : bool, optional
        Whether each search begins with what was found for all data. Default True.
    tol : float, optional
        As in `hessop.lanczos`; resampling changes more than this. Default 1e-4.
    rng : None, int or numpy.random.Generator, optional
        For the resamples and the searches.
    progress : bool, optional
        Whether to show a bar.
    **options : object
        What else `hessop.lanczos` takes; ``v0`` is for the search on all data.

    Returns
    -------
    Bootstrap
        Eigenvalues and angles with their errors and intervals.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As `hessop.lanczos`; also with ``checkpoint`` or ``callback``.

    See Also
    --------
    compare : One batch against all data.
    hessop.track : One search after the other, while a network is trained.

    Notes
    -----
    Entry by entry, eigenvectors of kernels of two resamples have nothing in common, whatever the
    kernel: entry i belongs to one example here and to another there. What can be compared is the
    eigenfunction at all examples. For the kernel :math:`J J^T` of all data, and :math:`J_r` with
    the rows of the resample, the vector v becomes :math:`J J_r^T v`, by one product with the
    operator on all data. That is what ``coordinates="examples"`` does.

    The largest eigenvalues of a resample are too large on average, as those of the data are:
    ``bias`` says by how much.

    References
    ----------
    .. [1] B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1),
       1979.

    Examples
    --------
    >>> import numpy as np
    >>> from hessop import perturbation
    >>> x = np.random.default_rng(0).standard_normal((500, 4)) * [4.0, 2.0, 1.0, 1.0]
    >>> found = perturbation.bootstrap(lambda i: x[i].T @ x[i] / 500, 500, k=2, rng=0)
    >>> np.round(found.full.eigenvalues, 1), np.round(found.standard_error, 1)
    (array([ 3.5, 16.7]), array([0.2, 1. ]))
    """
    if not callable(build):
        raise TypeError(_validation.message("build", "be callable", repr(build)))
    n_examples = _validation.integer("n_examples", n_examples, 1)
    k = _validation.integer("k", k, 1)
    n_resamples = _validation.integer("n_resamples", n_resamples, 1)
    count = k if subspace is None else _validation.integer("subspace", subspace, 1, k)
    _validation.choice("coordinates", coordinates, COORDINATES)
    refuse(options)
    order = wanted(which, options.get("sigma"))
    v0 = options.pop("v0", None)
    options |= {"which": which, "tol": tol}
    first, *generators = children(_validation.rng(rng), n_resamples + 1)

    everything = build(np.arange(n_examples))
    full = lanczos(everything, k, v0=v0, rng=first, **options)
    reference = leading(full, count, order)
    found: list[EigenResult] = []
    angles: list[float] = []
    subspaces: list[NDArray[Any]] = []
    with closing(_progress.counter("resamples")) if progress else nullcontext() as bar:
        for generator in generators:
            indices = generator.integers(0, n_examples, size=n_examples)
            operator = build(indices)
            size = enter(operator)[0].n
            resample = Resample.of(coordinates, indices, len(reference), size)
            start = resample.start(full) if warm else None
            result = lanczos(operator, k, v0=start, rng=generator, **options)
            vectors, more = resample.carried(leading(result, count, order), enter(everything)[0])
            angles.append(largest_angle(reference, vectors))
            subspaces.append(vectors)
            # of the rest the numbers are enough
            spent = result.n_matvec + more
            found.append(replace(result, eigenvectors=None, n_matvec=spent))
            if bar is not None:
                bar.update()
    return Bootstrap(
        full,
        np.stack([r.eigenvalues for r in found]),
        np.array(angles),
        np.stack([r.converged for r in found]),
        np.array([r.n_matvec for r in found]),
        tuple(subspaces),
    )
