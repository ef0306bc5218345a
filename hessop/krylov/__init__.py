"""Room 3: a product becomes a tridiagonal matrix, and that eigenpairs."""

from hessop.krylov.eigsh import eigsh as eigsh
from hessop.krylov.lanczos import lanczos as lanczos
from hessop.krylov.power import deflated_power_iteration as deflated_power_iteration
from hessop.krylov.tridiagonalize import tridiagonalize as tridiagonalize
