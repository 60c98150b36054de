"""The bus as route handlers get it: they ask services, and know nothing else of them."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from cartwheel.kernel.messages import Asks

Bus = NamedDependency[SkipValidation[Asks]]
"""The type of the `bus` argument."""
