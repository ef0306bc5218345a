"""Room 3: a product becomes a tridiagonal matrix, and that eigenpairs."""

from hessop.krylov.eigsh import eigsh as eigsh
from hessop.krylov.lanczos import lanczos as lanczos
from hessop.krylov.power import deflated_power_iteration as deflated_power_iteration
from hessop.krylov.randomized import randomized_eigh as randomized_eigh
from hessop.krylov.track import Trajectory as Trajectory
from hessop.krylov.track import track as track
from hessop.krylov.tridiagonalize import tridiagonalize as tridiagonalize
from hessop.krylov.watching import LanczosState as LanczosState
