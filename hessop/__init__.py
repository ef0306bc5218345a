"""The curvature of a neural network as a SciPy LinearOperator."""

from hessop import synthetic as synthetic
from hessop._results import ConfidenceInterval as ConfidenceInterval
from hessop._results import ConvergenceWarning as ConvergenceWarning
from hessop._results import EigenResult as EigenResult
from hessop._results import Estimate as Estimate
from hessop._results import NoConvergence as NoConvergence
from hessop._results import PrecisionWarning as PrecisionWarning
from hessop._results import Tridiagonal as Tridiagonal
from hessop.krylov import LanczosState as LanczosState
from hessop.krylov import Trajectory as Trajectory
from hessop.krylov import deflated_power_iteration as deflated_power_iteration
from hessop.krylov import eigsh as eigsh
from hessop.krylov import lanczos as lanczos
from hessop.krylov import randomized_eigh as randomized_eigh
from hessop.krylov import track as track
from hessop.krylov import tridiagonalize as tridiagonalize
from hessop.operators import FisherOperator as FisherOperator
from hessop.operators import GGNOperator as GGNOperator
from hessop.operators import HessianOperator as HessianOperator
from hessop.operators import NTKOperator as NTKOperator
from hessop.operators import TorchOperator as TorchOperator
from hessop.operators import aslinearoperator as aslinearoperator
from hessop.operators import deflate as deflate
from hessop.quadrature import SpectralDensity as SpectralDensity
from hessop.quadrature import slq as slq
from hessop.quadrature import trace as trace
