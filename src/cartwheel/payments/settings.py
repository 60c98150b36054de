"""What payments reads from the environment."""

from cartwheel.kernel import ServiceSettings
from cartwheel.kernel.settings import HttpUrl, OnOrOff


class Settings(ServiceSettings, frozen=True, kw_only=True):
    simulator_url: HttpUrl
    simulator_api_key: str
    cash_on_delivery: OnOrOff = "on"
