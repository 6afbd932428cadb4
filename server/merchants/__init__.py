"""Who uses Kontor: merchants (the tenants), their users, log-ins and API keys."""
