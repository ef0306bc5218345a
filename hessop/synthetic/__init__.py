"""
Operators whose eigenvalues and eigenvectors are known exactly.

For tests, benchmarks and teaching: `operator` puts a spectrum into a random orthogonal
eigenbasis that is applied implicitly, so a million dimensions work.
"""

from hessop.synthetic.eigenbasis import SyntheticOperator as SyntheticOperator
from hessop.synthetic.eigenbasis import operator as operator
from hessop.synthetic.spectra import REPORT as REPORT
from hessop.synthetic.spectra import SPECTRA as SPECTRA
from hessop.synthetic.spectra import spectrum as spectrum
