"""Where the things of a job are, as its callers are told: signed where a page must load them without a header."""

from dataclasses import dataclass

from app.signed_urls import UrlSigner
from jobs.record import JobRecord


@dataclass(frozen=True)
class Links:
    """Makes the URLs in answers.

    public_url: their prefix, or "" for root-relative ones. signer: None where nothing is signed.
    """

    public_url: str
    signer: UrlSigner | None = None

    def job(self, record: JobRecord) -> str:
        """The job itself."""
        return self._plain(_path(record))

    def cancel(self, record: JobRecord) -> str:
        """Where a POST cancels the job."""
        return self._plain(f"{_path(record)}/cancel")

    def events(self, record: JobRecord) -> str:
        """The stream of what happens to the job."""
        return self._signed(f"{_path(record)}/events", record)

    def animation(self, record: JobRecord) -> str:
        """The denoising as a moving picture."""
        return self._signed(f"{_path(record)}/animation", record)

    def picture(self, record: JobRecord, index: int) -> str:
        """One picture of the job."""
        return self._signed(f"{_path(record)}/images/{index}.png", record)

    def _signed(self, path: str, record: JobRecord) -> str:
        return self._plain(path if self.signer is None else self.signer.sign(path, record.spec.caller))

    def _plain(self, path: str) -> str:
        return self.public_url.rstrip("/") + path


def _path(record: JobRecord) -> str:
    return f"/v1/jobs/{record.id}"
