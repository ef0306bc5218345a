"""Room 2: products put behind SciPy's operator interface, and the doors between array types."""

from hessop.operators.adapt import TorchOperator as TorchOperator
from hessop.operators.adapt import aslinearoperator as aslinearoperator
from hessop.operators.adapt import enter as enter
from hessop.operators.adapt import face_of as face_of
from hessop.operators.deflation import deflate as deflate
from hessop.operators.face import ProductOperator as ProductOperator
from hessop.operators.fisher import FisherOperator as FisherOperator
from hessop.operators.ggn import GGNOperator as GGNOperator
from hessop.operators.hessian import HessianOperator as HessianOperator
from hessop.operators.ntk import NTKOperator as NTKOperator
from hessop.operators.parts import BlockOperator as BlockOperator
from hessop.operators.parts import KernelTermOperator as KernelTermOperator
