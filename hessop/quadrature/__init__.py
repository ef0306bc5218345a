"""Room 4: tridiagonal matrices become densities and traces."""

from hessop.quadrature.density import SpectralDensity as SpectralDensity
from hessop.quadrature.slq import slq as slq
from hessop.quadrature.trace import trace as trace
