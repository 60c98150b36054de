"""What notifications reads from the environment."""

from cartwheel.kernel import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    ses_sender: str
