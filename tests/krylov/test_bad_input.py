"""Every wrong argument is refused by name: rule, what came, remedy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hessop

N = 10
A = np.diag(np.arange(1.0, N + 1))
E = np.eye(N)

KRYLOV = {
    "lanczos": lambda **kw: hessop.lanczos(A, **{"k": 2, **kw}),
    "eigsh": lambda **kw: hessop.eigsh(A, **{"k": 2, **kw}),
    "power": lambda **kw: hessop.deflated_power_iteration(A, **{"k": 2, **kw}),
    "tridiagonalize": lambda **kw: hessop.tridiagonalize(A, **{"v0": None, "m": 3, **kw}),
}
QUADRATURE = {
    "slq": lambda **kw: hessop.slq(A, **kw),
    "trace": lambda **kw: hessop.trace(A, **kw),
}
SOLVERS = ["lanczos", "eigsh", "power"]
STARTED = [*SOLVERS, "tridiagonalize"]
LOCKING = ["lanczos", "power", "tridiagonalize"]
ALL = {**KRYLOV, **QUADRATURE}

NAN = np.full(N, np.nan)
INF = np.where(np.arange(N) == 3, np.inf, 1.0)

# functions, arguments, exception, message
CASES = [
    # k
    (SOLVERS, {"k": 0}, ValueError, r"`k` must satisfy 0 < k <= n; got k=0, n=10\."),
    (SOLVERS, {"k": -3}, ValueError, r"`k` must satisfy 0 < k <= n; got k=-3, n=10\."),
    (["lanczos", "power"], {"k": 11}, ValueError, r"`k` must satisfy 0 < k <= n; got k=11, n=10\."),
    (SOLVERS, {"k": 2.0}, TypeError, r"`k` must be an integer satisfying 0 < k <= n; got 2\.0\."),
    (SOLVERS, {"k": "2"}, TypeError, r"`k` must be an integer satisfying 0 < k <= n; got '2'\."),
    (SOLVERS, {"k": None}, TypeError, r"`k` must be an integer satisfying .*; got None\."),
    (["lanczos", "power"], {"k": 9, "lock": E[:, :2]}, ValueError, r"got k=9, n=8\."),
    (["lanczos", "power"], {"k": 1, "lock": E}, ValueError, r"got k=1, n=0\."),
    # which, reorth, verify, distribution
    (["lanczos"], {"which": "XM"}, ValueError, r"`which` must be one of 'LM', .*; got 'XM'\."),
    (["lanczos", "eigsh"], {"which": "LR"}, ValueError, r"`which` must be one of .*; got 'LR'\."),
    (["lanczos", "eigsh"], {"which": 3}, ValueError, r"`which` must be one of .*; got 3\."),
    (
        ["lanczos", "tridiagonalize", "slq"],
        {"reorth": "partial"},
        ValueError,
        r"`reorth` must be one of 'none', 'full', 'double', 'selective'; got 'partial'\.",
    ),
    (["lanczos"], {"verify": "yes"}, ValueError, r"`verify` must be one of 'auto', True, False"),
    (["lanczos"], {"verify": None}, ValueError, r"`verify` must be one of .*; got None\."),
    (
        ["slq", "trace"],
        {"distribution": "normal"},
        ValueError,
        r"`distribution` must be one of 'rademacher', 'gaussian', 'sphere'; got 'normal'\.",
    ),
    # ncv, m, n_probes, n_matvec, maxiter
    (["lanczos", "eigsh"], {"ncv": 2}, ValueError, r"`ncv` must satisfy k < ncv <= n; got ncv=2,"),
    (["lanczos", "eigsh"], {"ncv": 11}, ValueError, r"got ncv=11, k=2, n=10\."),
    (["lanczos"], {"ncv": 9, "k": 10}, ValueError, r"got ncv=9, k=10, n=10\."),
    (["lanczos"], {"ncv": 9, "lock": E[:, :2]}, ValueError, r"got ncv=9, k=2, n=8\."),
    (["lanczos", "eigsh"], {"ncv": -1}, ValueError, r"`ncv` must be an integer >= 1; got -1\."),
    (["lanczos", "eigsh"], {"ncv": 5.5}, TypeError, r"`ncv` must be an integer >= 1; got 5\.5\."),
    (["slq"], {"ncv": 0}, ValueError, r"`ncv` must be an integer >= 1; got 0\."),
    (["slq"], {"ncv": None}, TypeError, r"`ncv` must be an integer >= 1; got None\."),
    (["slq"], {"n_probes": 0}, ValueError, r"`n_probes` must be an integer >= 1; got 0\."),
    (["slq"], {"n_probes": 1.5}, TypeError, r"`n_probes` must be an integer >= 1; got 1\.5\."),
    (["trace"], {"n_matvec": 0}, ValueError, r"`n_matvec` must be an integer >= 1; got 0\."),
    (["trace"], {"n_matvec": "ten"}, TypeError, r"`n_matvec` must be an integer .*; got 'ten'\."),
    (["eigsh", "power"], {"maxiter": 0}, ValueError, r"`maxiter` must be an integer >= 1; got 0\."),
    (["eigsh", "power"], {"maxiter": -5}, ValueError, r"`maxiter` must be an integer >= 1; got -5"),
    (
        ["lanczos"],
        {"k": 3, "maxiter": 2},
        ValueError,
        r"`maxiter` must be an integer >= 3; got 2\.",
    ),
    (SOLVERS, {"maxiter": 1e3}, TypeError, r"`maxiter` must be an integer >= \d; got 1000\.0\."),
    (["tridiagonalize"], {"m": 0}, ValueError, r"`m` must be an integer in \[1, 10\]; got 0\."),
    (["tridiagonalize"], {"m": 11}, ValueError, r"`m` must be an integer in \[1, 10\]; got 11\."),
    (["tridiagonalize"], {"m": 3.0}, TypeError, r"`m` must be an integer .*; got 3\.0\."),
    (["tridiagonalize"], {"m": 9, "lock": E[:, :2]}, ValueError, r"in \[1, 8\]; got 9\."),
    # tol, momentum
    (SOLVERS, {"tol": -1e-3}, ValueError, r"`tol` must be a finite number >= 0; got -0\.001\."),
    (SOLVERS, {"tol": np.nan}, ValueError, r"`tol` must be a finite number >= 0; got nan\."),
    (SOLVERS, {"tol": np.inf}, ValueError, r"`tol` must be a finite number >= 0; got inf\."),
    (SOLVERS, {"tol": "small"}, TypeError, r"`tol` must be a finite number >= 0; got 'small'\."),
    (["power"], {"momentum": -0.1}, ValueError, r"`momentum` must be a finite number >= 0; got -0"),
    (["power"], {"momentum": np.nan}, ValueError, r"`momentum` must be .*; got nan\."),
    # rng
    (ALL, {"rng": "seed"}, TypeError, r"`rng` must be None, an int, .*; got 'seed'\."),
    (ALL, {"rng": -1}, TypeError, r"`rng` must be None, an int, .*; got -1\."),
    (ALL, {"rng": 0.5}, TypeError, r"`rng` must be None, an int, .*; got 0\.5\."),
    # v0
    (STARTED, {"v0": np.ones(9)}, ValueError, r"`v0` must have shape \(10,\); got shape \(9,\)\."),
    (STARTED, {"v0": np.ones((1, 10))}, ValueError, r"`v0` must have shape .* \(1, 10\)\."),
    (
        ["eigsh", "power", "tridiagonalize"],
        {"v0": np.ones((10, 2))},
        ValueError,
        r"`v0` must have shape .* \(10, 2\)\.",
    ),
    (["lanczos"], {"v0": E[:, :3], "block_size": 2}, ValueError, r"block_size=2 columns; got 3 co"),
    (["lanczos"], {"block_size": 0}, ValueError, r"`block_size` must be an integer in \[1, 10\]"),
    (["lanczos"], {"basis": "nowhere"}, ValueError, r'"host", or a folder that exists; got \'nowh'),
    (
        ["lanczos"],
        {"basis": 3},
        ValueError,
        r"`basis` must be one of 'auto', 'device', 'ho",
    ),
    (["lanczos"], {"basis_dtype": "int8"}, ValueError, r"`basis_dtype` must be one of 'float64',"),
    (["lanczos"], {"sigma": "here"}, TypeError, r"`sigma` must be a finite number; got 'here'"),
    (["lanczos"], {"which": lambda t: 1}, ValueError, r"`which` must give a real score for each"),
    (
        ["lanczos"],
        {"reorth": "none", "callback": print},
        ValueError,
        r'`callback` must be None with reorth="none"; got <built-in',
    ),
    (["lanczos"], {"checkpoint": "no/where"}, ValueError, r"`checkpoint` must be a file in a fol"),
    (STARTED, {"v0": 1.0}, ValueError, r"`v0` must have shape \(10,\); got shape \(\)\."),
    (STARTED, {"v0": np.zeros(N)}, ValueError, r"`v0` must not be zero; got a zero vector\."),
    (STARTED, {"v0": torch.zeros(N)}, ValueError, r"`v0` must not be zero; got a zero vector\."),
    (STARTED, {"v0": NAN}, ValueError, r"`v0` must be finite; got NaN or Inf\."),
    (STARTED, {"v0": INF}, ValueError, r"`v0` must be finite; got NaN or Inf\."),
    (STARTED, {"v0": torch.from_numpy(INF)}, ValueError, r"`v0` must be finite; got NaN or Inf\."),
    (STARTED, {"v0": np.ones(N) * 1j}, TypeError, r"`v0` must be real; got complex128\."),
    (STARTED, {"v0": torch.ones(N) * 1j}, TypeError, r"`v0` must be real; got torch\.complex64\."),
    (STARTED, {"v0": ["a"] * N}, TypeError, r"`v0` must be real; got"),
    # lock
    (
        LOCKING,
        {"lock": np.ones((9, 2))},
        ValueError,
        r"`lock` must have shape \(10, k\) with k <= 10",
    ),
    (LOCKING, {"lock": np.ones((2, 10))}, ValueError, r"`lock` must .*; got shape \(2, 10\)\."),
    (LOCKING, {"lock": np.ones((10, 11))}, ValueError, r"`lock` must .*; got shape \(10, 11\)\."),
    (LOCKING, {"lock": np.ones((10, 2, 1))}, ValueError, r"`lock` must .*; got shape \(10, 2, 1\)"),
    (LOCKING, {"lock": NAN}, ValueError, r"`lock` must be finite; got NaN or Inf\."),
    (LOCKING, {"lock": E[:, :2] * 1j}, TypeError, r"`lock` must be real; got complex128\."),
    (
        LOCKING,
        {"lock": E[:, :3], "v0": E[:, 0] + 2 * E[:, 2]},
        ValueError,
        r"`v0` must not lie in the span of lock; got a vector in it\.",
    ),
]


@pytest.mark.parametrize(
    ("function", "arguments", "error", "text"),
    [
        pytest.param(f, arguments, error, text, id=f"{f}-{'-'.join(arguments)}-{i}")
        for i, (functions, arguments, error, text) in enumerate(CASES)
        for f in functions
    ],
)
def test_refused_by_name(function, arguments, error, text):
    """Before any product is spent, or with the first that shows it."""
    with pytest.raises(error, match=text):
        ALL[function](**arguments)


@pytest.mark.parametrize("function", ALL)
def test_nothing_is_multiplied_before_the_arguments_are_checked(function):
    """A product may take minutes."""
    calls = []

    def matmat(X):
        calls.append(X.shape)
        return X

    operator = hessop.TorchOperator(matmat, N, dtype=torch.float64)
    call = {
        "lanczos": lambda: hessop.lanczos(operator, 2, rng="seed"),
        "eigsh": lambda: hessop.eigsh(operator, 2, rng="seed"),
        "power": lambda: hessop.deflated_power_iteration(operator, 2, rng="seed"),
        "tridiagonalize": lambda: hessop.tridiagonalize(operator, None, 2, rng="seed"),
        "slq": lambda: hessop.slq(operator, rng="seed"),
        "trace": lambda: hessop.trace(operator, rng="seed"),
    }[function]
    with pytest.raises(TypeError, match="`rng` must be"):
        call()
    assert not calls


def of(matrix):
    """Every public function on a matrix."""
    return {
        "lanczos": lambda: hessop.lanczos(matrix, 1),
        "eigsh": lambda: hessop.eigsh(matrix, 1),
        "power": lambda: hessop.deflated_power_iteration(matrix, 1),
        "tridiagonalize": lambda: hessop.tridiagonalize(matrix, None, 1),
        "slq": lambda: hessop.slq(matrix),
        "trace": lambda: hessop.trace(matrix),
    }


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    ("matrix", "error", "text"),
    [
        (np.ones((3, 4)), ValueError, r"`A` must be square; got shape \(3, 4\)\."),
        (torch.ones(3, 4), ValueError, r"`A` must be square; got shape \(3, 4\)\."),
        (np.eye(3) * 1j, TypeError, r"`A` must be real symmetric; got dtype complex128\."),
        (torch.eye(3) * 1j, TypeError, r"`A` must be real symmetric; got dtype torch\.complex64\."),
        ("matrix", TypeError, r"`A` must be an operator: .*; got a str\."),
        (None, TypeError, r"`A` must be an operator: .*; got a NoneType\."),
    ],
    ids=["oblong", "oblong tensor", "complex", "complex tensor", "text", "none"],
)
def test_no_operator(function, matrix, error, text):
    """The first argument, refused alike everywhere; eigsh takes complex ones, but Hermitian."""
    if function == "eigsh" and "dtype" in text:
        error, text = ValueError, "`A` must be symmetric; got"
    with pytest.raises(error, match=text):
        of(matrix)[function]()


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_products_that_are_not_finite(function, bad):
    """From a torch function, from a dense matrix: every function says so."""
    d = torch.full((N, 1), bad, dtype=torch.float64)
    operator = hessop.TorchOperator(lambda X: d * X, N, dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="`A` must give finite products; got NaN or Inf"):
        of(operator)[function]()


@pytest.mark.parametrize("function", ALL)
def test_product_of_another_shape(function):
    """A function that loses a row is told so."""
    operator = hessop.TorchOperator(lambda X: X[1:], N, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"`matmat\(X\)` must be a tensor of shape \(10, \d+\); got"
    ):
        of(operator)[function]()


class TestRandomStates:
    @pytest.mark.parametrize("function", ALL)
    @pytest.mark.parametrize(
        "make",
        [
            lambda: 5,
            lambda: np.int64(5),
            lambda: [1, 2],
            lambda: np.random.SeedSequence(5),
            lambda: np.random.PCG64(5),
            lambda: np.random.default_rng(5),
            lambda: np.random.RandomState(5),
        ],
        ids=["int", "int64", "list", "SeedSequence", "BitGenerator", "Generator", "RandomState"],
    )
    def test_whatever_default_rng_takes(self, function, make):
        """SPEC 7; and it decides the result."""

        def values():
            result = ALL[function](rng=make())
            if function == "slq":
                return result.nodes
            if function == "trace":
                return result.samples
            return result.basis if function == "tridiagonalize" else result[1]

        if function in ("lanczos", "power"):
            pairs = [np.asarray(ALL[function](rng=make()).eigenvectors) for _ in range(2)]
        else:
            pairs = [np.asarray(values()) for _ in range(2)]
        np.testing.assert_array_equal(*pairs)


class TestTridiagonal:
    @pytest.mark.parametrize("m", [0, -1, 4])
    @pytest.mark.parametrize("method", ["eigh", "residuals"])
    def test_no_such_block(self, method, m):
        """A leading block has 1 to m rows."""
        t = hessop.tridiagonalize(A, None, 3, rng=0)
        with pytest.raises(ValueError, match=rf"`m` must be an integer in \[1, 3\]; got {m}"):
            getattr(t, method)(m)


class TestEstimate:
    @pytest.mark.parametrize("level", [-0.5, 1.5, np.nan])
    def test_no_such_confidence(self, level):
        """Between 0 and 1."""
        e = hessop.trace(A, n_matvec=5, distribution="gaussian", rng=0)
        with pytest.raises(ValueError, match="`confidence_level` must"):
            e.confidence_interval(level)
