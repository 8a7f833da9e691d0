"""The ways on which alerts reach people: the log, a webhook, e-mail. Each takes bounded time, whoever is there."""

import logging
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage

import requests

from shared.alerts import Channel, Message, NotDelivered
from shared.settings import Settings

log = logging.getLogger("alerts")


def open_channels(settings: Settings) -> Mapping[str, Channel]:
    """Return the channels that the settings name; the log is always one. Nothing is connected yet."""
    channels: dict[str, Channel] = {"log": LogChannel()}
    if settings.alert_webhook_url.get_secret_value():
        channels["webhook"] = Webhook(settings.alert_webhook_url.get_secret_value(), settings.alert_timeout_seconds)
    if settings.alert_smtp_host and settings.alert_smtp_to:
        channels["email"] = Email(settings)
    return channels


def _bounded(seconds: float, send: Callable[[], None]) -> None:
    """Run in a thread that is waited for so long: a server that drips a byte a second outlasts any socket's timeout."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            send()
        except BaseException as error:  # noqa: BLE001 - raised again below, by whoever waits
            failures.append(error)

    thread = threading.Thread(target=work, name="alert", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive() or (failures and isinstance(failures[0], TimeoutError)):
        raise NotDelivered(f"no answer within {seconds:g} s (MEDALLION_ALERT_TIMEOUT_SECONDS)")
    if failures:
        raise failures[0]


class LogChannel:
    """A line of the ingestor's log a message."""

    def send(self, message: Message) -> None:
        """Log the message, as an error or a warning."""
        level = logging.ERROR if message.severity == "error" and message.status == "open" else logging.WARNING
        fields = {"action": "alert", "kind": message.kind, "status": message.status, "lines": list(message.lines)}
        log.log(level, message.title, extra=fields)


class Webhook:
    """An HTTP POST of JSON. Redirects are not followed: they would carry the alert elsewhere."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url, self._timeout_seconds = url, timeout_seconds

    def send(self, message: Message) -> None:
        """Post the message; raises NotDelivered unless the answer is 2xx."""
        _bounded(self._timeout_seconds, lambda: self._post(message))

    def _post(self, message: Message) -> None:
        try:
            with requests.post(
                self._url, json=message.as_json(), timeout=self._timeout_seconds, allow_redirects=False, stream=True,
                headers={"Idempotency-Key": str(message.message_id), "Connection": "close"},
            ) as answer:  # fmt: skip
                status = answer.status_code
        except requests.Timeout:
            raise TimeoutError from None
        except requests.RequestException as error:
            # The driver's own words hold the address, which often is the secret.
            raise NotDelivered(f"the webhook cannot be reached: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise NotDelivered(f"the webhook answered {status}")


class Email:
    """A plain text mail through an SMTP server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._to = [one.strip() for one in settings.alert_smtp_to.split(",") if one.strip()]

    def send(self, message: Message) -> None:
        """Hand the mail to the server; raises NotDelivered when it does not take it for everybody."""
        _bounded(self._settings.alert_timeout_seconds, lambda: self._hand_over(message))

    def _hand_over(self, message: Message) -> None:
        settings = self._settings
        try:
            with self._connection() as server:
                if settings.alert_smtp_security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if settings.alert_smtp_user:
                    server.login(settings.alert_smtp_user, settings.alert_smtp_password.get_secret_value())
                refused = server.send_message(self._mail(message), to_addrs=self._to)
        except TimeoutError:
            raise
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"the mail server answered {error.smtp_code}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(f"the mail server does not take it: {type(error).__name__}") from None
        if refused:
            raise NotDelivered(f"the mail server refused {len(refused)} of {len(self._to)} recipients")

    def _connection(self) -> smtplib.SMTP:
        settings = self._settings
        where = (settings.alert_smtp_host, settings.alert_smtp_port)
        if settings.alert_smtp_security == "tls":
            return smtplib.SMTP_SSL(
                *where, timeout=settings.alert_timeout_seconds, context=ssl.create_default_context()
            )
        return smtplib.SMTP(*where, timeout=settings.alert_timeout_seconds)

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.title
        mail["From"] = self._settings.alert_smtp_from
        mail["To"] = ", ".join(self._to)
        mail["Message-ID"] = f"<{message.message_id}@medallion>"
        mail.set_content(message.text + "\n")
        return mail
