/*-------------------------------------------------------------------------
 *
 * connect.c
 *	  Making connections with a relay through libcurl.
 *
 * libcurl resolves, connects, speaks TLS, EHLO, STARTTLS and AUTH, and stops
 * there (CURLOPT_CONNECT_ONLY): it must not carry mail, because its own SMTP
 * transfer blocks at the final dot.  The relay's replies reach us line by
 * line in the header callback; hearing.c follows them, so that capabilities
 * are known and a failure gets its stage and the relay's own words.
 *
 * Invariants: the easy handle stays in the multi as long as the connection
 * lives (libcurl finds the socket through it).  Closing never waits:
 * connect-only connections are dropped without QUIT, and a resolver thread is
 * left behind (CURLOPT_QUICK_EXIT), not joined.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect_private.h"

#define TLS_RECORD_MAX	16384	/* RFC 8446 5.1 */

/* CURLOPT_HEADERFUNCTION: one line of a reply */
static size_t
connect_header(char *line, size_t size, size_t count, void *userp)
{
	hearing_line(userp, line, size * count);
	return size * count;
}

/* CURLOPT_DEBUGFUNCTION, for probes: the TLS version and cipher */
static int
connect_debug(CURL *easy, curl_infotype type, char *data, size_t size,
			  void *userp)
{
	static const char mark[] = "SSL connection using ";
	Connection *conn = userp;
	ConnectWords *words = conn->hearing.words;

	(void) easy;
	if (type == CURLINFO_TEXT && size > sizeof(mark) &&
		strncmp(data, mark, sizeof(mark) - 1) == 0)
		reply_clean(words->tls, sizeof(words->tls), data + sizeof(mark) - 1,
					size - sizeof(mark) + 1);
	return 0;
}

static void
connect_set_security(CURL *easy, const RelayConfig *config)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
					 (long) (CURLPROTO_SMTP | CURLPROTO_SMTPS));
#endif
	curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)
					 (config->tls_required ? CURLUSESSL_ALL :
					  CURLUSESSL_NONE));
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	/* nothing older than that */
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)
					 (config->tls13 ? CURL_SSLVERSION_TLSv1_3 :
					  CURL_SSLVERSION_TLSv1_2));
	if (config->ca_file != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (config->cert_file != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_SSLCERT, config->cert_file);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, config->key_file);
		/* or OpenSSL would ask at the terminal, if there is one */
		curl_easy_setopt(easy, CURLOPT_KEYPASSWD, "");
	}
}

static void
connect_set_options(Connection *conn)
{
	const RelayConfig *config = &conn->connector->config;
	CURL	   *easy = conn->easy;
	long		timeout = config->connect_timeout_ms;

	curl_easy_setopt(easy, CURLOPT_URL, conn->connector->url);
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, conn->error);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, conn);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, connect_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, &conn->hearing);

	/* the caller's deadline comes first, and knows the stage */
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout + 2000L);
	curl_easy_setopt(easy, CURLOPT_FTP_RESPONSE_TIMEOUT, timeout / 1000 + 2);
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	/* an idle session is not stale: the relay says when it is */
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 86400L * 365);
	if (conn->hearing.words != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
		curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, connect_debug);
		curl_easy_setopt(easy, CURLOPT_DEBUGDATA, conn);
	}
	connect_set_security(easy, config);
	login_set_options(easy, config);
}

static void
connect_no_memory(Attempt *failure)
{
	memset(failure, 0, sizeof(*failure));
	failure->stage = STAGE_CONNECT;
	failure->end = END_LOCAL;
	snprintf(failure->text, sizeof(failure->text), "out of memory");
}

Connection *
connect_open(Connector *c, void *owner, ConnectWords *words, Attempt *failure)
{
	Connection *conn;
	sigset_t	saved;
	CURLMcode	rc = CURLM_OUT_OF_MEMORY;

	if (!login_refresh(c, failure))
		return NULL;
	connect_no_memory(failure); /* if anything fails */
	conn = calloc(1, sizeof(Connection));
	if (conn == NULL)
		return NULL;
	conn->connector = c;
	conn->owner = owner;
	conn->fd = -1;
	conn->login = c->login;
	hearing_init(&conn->hearing, &c->config, words);
	conn->easy = curl_easy_init();
	if (conn->easy != NULL)
	{
		connect_set_options(conn);
		signals_block(&saved);
		rc = curl_multi_add_handle(c->multi, conn->easy);
		signals_restore(&saved);
	}
	if (rc != CURLM_OK)
	{
		curl_easy_cleanup(conn->easy);
		free(conn);
		return NULL;
	}
	return conn;
}

void
connect_close(Connection *conn)
{
	sigset_t	saved;

	if (conn->fd >= 0)
		sockets_forget(conn->connector->sockets, conn->fd);
	signals_block(&saved);
	curl_multi_remove_handle(conn->connector->multi, conn->easy);
	curl_easy_cleanup(conn->easy);
	signals_restore(&saved);
	free(conn);
}

/* How far did TCP and TLS get?  The rest is told by the replies. */
static void
connect_measure(Connection *conn)
{
	curl_off_t	tcp = 0;
	curl_off_t	tls = 0;

	curl_easy_getinfo(conn->easy, CURLINFO_CONNECT_TIME_T, &tcp);
	curl_easy_getinfo(conn->easy, CURLINFO_APPCONNECT_TIME_T, &tls);
	hearing_connected(&conn->hearing, tcp > 0, tls > 0);
}

static HearingEnd
connect_classify(CURLcode rc)
{
	switch (rc)
	{
		case CURLE_OK:
			return HEARING_UP;
		case CURLE_OPERATION_TIMEDOUT:
			return HEARING_TIMEOUT;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_ENGINE_NOTFOUND:
		case CURLE_SSL_ENGINE_SETFAILED:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_INVALIDCERTSTATUS:
			return HEARING_TLS;
		case CURLE_USE_SSL_FAILED:
			return HEARING_NO_TLS;
		case CURLE_LOGIN_DENIED:
			return HEARING_NO_AUTH;
		case CURLE_WEIRD_SERVER_REPLY:
			return HEARING_DISORDER;
		default:
			return HEARING_CLOSED;
	}
}

/* The socket is ours from here on. */
static bool
connect_adopt(Connection *conn)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (curl_easy_getinfo(conn->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK
		|| fd == CURL_SOCKET_BAD)
		return false;
	if (!sockets_watch(conn->connector->sockets, fd, true, false,
					   conn->owner))
		return false;
	conn->fd = fd;
	curl_easy_setopt(conn->easy, CURLOPT_VERBOSE, 0L);
	return true;
}

Connection *
connect_finished(Connector *c, bool *up, Attempt *failure)
{
	CURLMsg    *msg;
	int			left;

	while ((msg = curl_multi_info_read(c->multi, &left)) != NULL)
	{
		Connection *conn;
		CURLcode	rc = msg->data.result;
		char	   *private = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
		conn = (Connection *) private;
		connect_measure(conn);
		*up = hearing_is_up(&conn->hearing, rc == CURLE_OK) &&
			connect_adopt(conn);
		if (!*up)
		{
			char		text[REPLY_TEXT_MAX];

			connect_error(conn, text, sizeof(text));
			if (text[0] == '\0' && rc != CURLE_OK)
				snprintf(text, sizeof(text), "%s", curl_easy_strerror(rc));
			hearing_failure(&conn->hearing, connect_classify(rc), text,
							failure);
		}
		return conn;
	}
	return NULL;
}

void
connect_expired(Connection *conn, Attempt *failure)
{
	char		text[64];

	connect_measure(conn);
	snprintf(text, sizeof(text), "within %g s",
			 conn->connector->config.connect_timeout_ms / 1000.0);
	hearing_failure(&conn->hearing, HEARING_TIMEOUT, text, failure);
}

void *
connect_owner(const Connection *conn)
{
	return conn->owner;
}

const Capabilities *
connect_capabilities(const Connection *conn)
{
	return &conn->hearing.caps;
}

int
connect_socket(const Connection *conn)
{
	return conn->fd;
}

bool
connect_is_tls(const Connection *conn)
{
	return conn->hearing.secured;
}

void
connect_error(const Connection *conn, char *buf, size_t size)
{
	reply_clean(buf, size, conn->error, strlen(conn->error));
}

/*
 * Over TLS at most one record at a time: so a record that was not wholly
 * written cannot have been read, and "sent" is exact.  The caller repeats
 * after CONNECT_AGAIN from the same place, hence with the same pointer.
 */
ConnectIO
connect_send(Connection *conn, const char *data, size_t len, size_t *sent)
{
	CURLcode	rc;

	if (conn->hearing.secured && len > TLS_RECORD_MAX)
		len = TLS_RECORD_MAX;
	*sent = 0;
	conn->error[0] = '\0';
	rc = curl_easy_send(conn->easy, data, len, sent);
	if (rc == CURLE_AGAIN)
		return CONNECT_AGAIN;
	return rc == CURLE_OK ? CONNECT_OK : CONNECT_BROKEN;
}

ConnectIO
connect_recv(Connection *conn, char *buf, size_t size, size_t *got)
{
	CURLcode	rc;

	*got = 0;
	conn->error[0] = '\0';
	rc = curl_easy_recv(conn->easy, buf, size, got);
	if (rc == CURLE_AGAIN)
		return CONNECT_AGAIN;
	return rc == CURLE_OK && *got > 0 ? CONNECT_OK : CONNECT_BROKEN;
}
