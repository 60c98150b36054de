"""Who is asking, and who is being served."""

import msgspec


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The signed-in user on whose behalf a request is made, as the gateway verified them."""

    user_id: str
    admin: bool = False


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as their order remembers them."""

    id: str
    name: str
    email: str
