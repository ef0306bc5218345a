"""Room 1: a model, a loss and data become a product ``V |-> C V``, in torch alone."""

from hessop.curvature.parameters import ParameterSpace as ParameterSpace
from hessop.curvature.product import CurvatureProduct as CurvatureProduct
from hessop.curvature.report import Report as Report
