"""Files over HTTP: allowed hosts, proxies, TLS and timeouts, proven ranges, streams, and the common rate limit."""
