"""Notifications itself decides who may see mail, and who may have it sent again."""

import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.notifications import ListMail, MailNotFound, ResendMail
from cartwheel.kernel.errors import Forbidden
from cartwheel.notifications.handlers import mail as mail_handlers

from .conftest import Notifications
from .examples import now

ADMIN = Actor(user_id="alice@laptop", admin=True)


@pytest.mark.parametrize("actor", [Actor(user_id="user-eve"), Actor.service("orders")])
async def test_only_admins_see_mail_and_have_it_sent_again(
    notifications: Notifications, actor: Actor
) -> None:
    async def resend(by: Actor) -> None:
        await mail_handlers.resend_mail(
            ResendMail(mail_id="evt_none", by=by.user_id, actor=by),
            mails=notifications.mails,
            sender=notifications.sender,
            now=now,
        )

    with pytest.raises(Forbidden):
        await notifications.page(ListMail(limit=10, actor=actor))
    with pytest.raises(Forbidden):
        await resend(actor)

    assert (await notifications.page(ListMail(limit=10, actor=ADMIN))).data == []
    with pytest.raises(MailNotFound):
        await resend(ADMIN)
