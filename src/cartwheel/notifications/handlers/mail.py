"""Listing mail, and sending FAILED mail again."""

from cartwheel.contracts.identity import require_admin
from cartwheel.contracts.notifications import ListMail, MailNotSent, MailView, ResendMail
from cartwheel.kernel import Clock, Page, utc_now
from cartwheel.notifications.ports import MailFailed, MailRefused, Mails, Sender


async def resend_mail(
    request: ResendMail, *, mails: Mails, sender: Sender, now: Clock = utc_now
) -> MailView:
    """Send a FAILED mail again. If the process dies at any point, the mail is still FAILED or SENT.

    Raises:
        MailNotFound, MailNotFailed, MailNotSent
    """
    require_admin(request.actor, "resend mail")
    await sender.turn()
    failed = await mails.claim_failed(request.mail_id, by=request.by, now=now)
    try:
        message_id = await sender.send(failed.mail)
    except (MailRefused, MailFailed) as error:
        await mails.not_resent(failed.id, str(error))
        raise MailNotSent(f"SES did not accept the mail ({error}).") from error
    except Exception:
        await mails.release(failed.id)
        raise
    return await mails.resent(failed, message_id, now=now)


async def list_mail(request: ListMail, *, mails: Mails) -> Page[MailView]:
    require_admin(request.actor, "list mail")
    return await mails.page(request)
