"""Room 1: a model, a loss and data become a product ``V |-> H V``, in torch alone."""

from hessop.curvature.hessian import HessianProduct as HessianProduct
from hessop.curvature.parameters import ParameterSpace as ParameterSpace
