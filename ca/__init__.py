"""Identity and signing: SPIFFE identities, the trust bundle, the authority, and the credentials it issues."""
