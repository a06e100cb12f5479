/*-------------------------------------------------------------------------
 *
 * login.c
 *	  What sessions with a relay log in with, as it is now.
 *
 * Tokens expire within the hour, and password files are replaced by whatever
 * keeps secrets, while a letter is being sent.  So each new session takes what
 * is there when it begins, and one that is refused with what is no longer
 * there says nothing about the relay: the next session decides.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connect_private.h"

/* Replace one that was copied; the version tells sessions of the old one */
static bool
login_replace(Connector *c, const char **place, const char *value)
{
	const char *copy;
	bool		ok = true;

	if (value != NULL && *place != NULL && strcmp(value, *place) == 0)
		return true;
	if (value == NULL && *place == NULL)
		return true;
	copy = config_copy(value, &ok);
	if (!ok)
		return false;
	free((char *) *place);
	*place = copy;
	c->login++;
	return true;
}

/* Read a regular file of less than size bytes; NULL, or what is wrong */
static const char *
login_read_bytes(int fd, char *buf, size_t size, size_t *len)
{
	struct stat st;
	ssize_t		n;

	*len = 0;
	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "it is not a regular file";
	while (*len < size && (n = read(fd, buf + *len, size - *len)) != 0)
	{
		if (n > 0)
			*len += (size_t) n;
		else if (errno != EINTR)
			return strerror(errno);
	}
	return *len == size ? "it is too long" : NULL;
}

/* see transfer.h */
const char *
transfer_read_password(const char *path, char *buf, size_t size)
{
	/* a named pipe must not make us wait */
	int			fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	const char *fault;
	size_t		len;
	size_t		i;

	if (fd < 0)
		return strerror(errno);
	fault = login_read_bytes(fd, buf, size, &len);
	close(fd);
	if (fault != NULL)
		return fault;
	if (len > 0 && buf[len - 1] == '\n')
		len--;
	if (len > 0 && buf[len - 1] == '\r')
		len--;
	if (len == 0)
		return "it is empty";
	for (i = 0; i < len; i++)
	{
		if ((unsigned char) buf[i] < 0x20 || buf[i] == 0x7f)
			return "it has more than one line, or control characters";
	}
	buf[len] = '\0';
	return NULL;
}

/* see connect_private.h */
bool
login_refresh(Connector *c, Attempt *failure)
{
	char		password[TRANSFER_PASSWORD_MAX];
	const char *fault = NULL;

	if (c->config.password_file == NULL)
		return true;
	fault = transfer_read_password(c->config.password_file, password,
								   sizeof(password));
	if (fault == NULL && !login_replace(c, &c->config.password, password))
		fault = "out of memory";
	explicit_bzero(password, sizeof(password));
	if (fault == NULL)
		return true;
	memset(failure, 0, sizeof(*failure));
	failure->stage = STAGE_AUTH;
	failure->end = END_LOCAL;
	failure->fresh = true;
	snprintf(failure->text, sizeof(failure->text),
			 "could not read the password file: %s", fault);
	return false;
}

/* see connect.h */
bool
connector_set_token(Connector *c, const char *token)
{
	return login_replace(c, &c->config.token, token);
}

/* see connect.h */
bool
connect_is_outdated(const Connection *conn)
{
	Attempt		failure;

	(void) login_refresh(conn->connector, &failure);
	return conn->login != conn->connector->login;
}

/*
 * Only the forms that send what we were given.  Left to itself libcurl prefers
 * GSSAPI, NTLM and digests where they are offered: the first two may use a
 * ticket or the name of the account that the server runs as.
 */
void
login_set_options(CURL *easy, const RelayConfig *config)
{
	if (config->username == NULL)
		return;
	curl_easy_setopt(easy, CURLOPT_USERNAME, config->username);
	curl_easy_setopt(easy, CURLOPT_PASSWORD,
					 config->password ? config->password : "");
	if (config->token == NULL)
		curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN");
	else
	{
		curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS,
						 "AUTH=OAUTHBEARER;AUTH=XOAUTH2");
		curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, config->token);
	}
}
