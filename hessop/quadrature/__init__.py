"""Room 4: tridiagonal matrices become densities and traces."""

from hessop.quadrature.chebyshev import kpm as kpm
from hessop.quadrature.density import SpectralDensity as SpectralDensity
from hessop.quadrature.diagonal import diagonal as diagonal
from hessop.quadrature.expansion import ChebyshevDensity as ChebyshevDensity
from hessop.quadrature.funm import FunmResult as FunmResult
from hessop.quadrature.funm import funm_multiply as funm_multiply
from hessop.quadrature.layers import layer_traces as layer_traces
from hessop.quadrature.norm import norm as norm
from hessop.quadrature.slq import slq as slq
from hessop.quadrature.trace import trace as trace
from hessop.quadrature.variance import trace_variance as trace_variance
