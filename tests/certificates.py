"""Certificates for tests, made for the occasion: an authority, servers, devices."""

from datetime import datetime
from pathlib import Path

import trustme


class Authority:
    """A certificate authority that keeps its files in a directory.

    Args:
        directory: where its files go.
        name: of its files.
    """

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.ca = str(directory / f"{name}.pem")
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(
        self,
        name: str,
        *identities: str,
        common_name: str | None = None,
        dates: tuple[datetime | None, datetime | None] = (None, None),
    ) -> tuple[str, str]:
        """A certificate, with its chain, and its key: two files.

        Args:
            name: of the files; those of an earlier certificate are replaced.
            identities: DNS names, addresses and URIs in it.
            common_name: of its subject.
            dates: from when until when it is valid; None: for ever.
        """
        leaf = self._authority.issue_cert(*identities, common_name=common_name, not_before=dates[0], not_after=dates[1])
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return str(certificate), str(key)
