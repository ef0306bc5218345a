"""Room 5: what results are worth: of a nearby operator, and of other data."""

from hessop.perturbation.angles import subspace_angles as subspace_angles
from hessop.perturbation.batches import compare as compare
from hessop.perturbation.bootstrap import bootstrap as bootstrap
from hessop.perturbation.bounds import davis_kahan as davis_kahan
from hessop.perturbation.bounds import weyl as weyl
from hessop.perturbation.comparison import Comparison as Comparison
from hessop.perturbation.gaps import eigenvector_bounds as eigenvector_bounds
from hessop.perturbation.gaps import gap as gap
from hessop.perturbation.resamples import Bootstrap as Bootstrap
