"""Who may call what, and how often: API keys, the page's cookie, scopes by path, rate limits (docs/security.md)."""
