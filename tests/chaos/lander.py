"""Somebody who puts files into the bucket and does not give up: a client outside the pipeline, in a thread of its own."""

import threading
from collections.abc import Sequence

from shared.errors import Unavailable
from shared.ports import ObjectStore
from shared.settings import BRONZE_BUCKET
from tests.chaos.corpus import Delivery

PAUSE_SECONDS = 0.3


class Lander:
    """Lands deliveries in order, up to the share of them that is due."""

    def __init__(self, store: ObjectStore, deliveries: Sequence[Delivery]) -> None:
        self._store, self._deliveries = store, deliveries
        self.landed, self.retries = 0, 0
        self._due = threading.Semaphore(0)
        self._released = 0
        self._is_stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="lander", daemon=True)
        self._thread.start()

    def release(self, share: float) -> None:
        """Let this share (0 to 1) of all deliveries be landed; raises what landing met, other than absent servers."""
        if self._failure:
            raise self._failure
        while self._released < min(round(share * len(self._deliveries)), len(self._deliveries)):
            self._released += 1
            self._due.release()

    @property
    def is_done(self) -> bool:
        """Whether everything lies in the bucket."""
        return self.landed == len(self._deliveries)

    def stop(self) -> None:
        """Land nothing more."""
        self._is_stopping.set()
        self._due.release()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            for delivery in self._deliveries:
                self._due.acquire()
                while not self._is_stopping.is_set() and not self._put(delivery):
                    self._is_stopping.wait(PAUSE_SECONDS)
                if self._is_stopping.is_set():
                    return
                self.landed += 1
        except BaseException as error:
            self._failure = error
            raise

    def _put(self, delivery: Delivery) -> bool:
        try:
            if isinstance(delivery.content, bytes):
                self._store.put_bytes(BRONZE_BUCKET, delivery.key, delivery.content, delivery.metadata)
            else:
                self._store.put_file(BRONZE_BUCKET, delivery.key, delivery.content, delivery.metadata)
        except Unavailable:
            self.retries += 1
            return False
        return True
