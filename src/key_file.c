/*-------------------------------------------------------------------------
 *
 * key_file.c
 *	  mailman.key_file: the keys that wrap secrets, and are not in the
 *	  database.
 *
 * A dump, a copy of the data directory, and roles that may read all tables have
 * the secrets then, but wrapped.  The file is read each time it is needed,
 * which is once per letter or call: no process keeps the keys in memory, and
 * a file that was missing counts as soon as it is there.
 *
 * The server asks of it what it asks of ssl_key_file.  What is wrong with it
 * concerns everybody who sends, so it is told without the name of the file,
 * which is for superusers.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "key_file.h"
#include "mailman.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "wrap.h"

/* More than WRAP_KEYS_MAX keys with what is written between them */
#define FILE_SIZE_MAX 8192

static compat_noreturn void key_file_refuse(WrapKeys *keys, const char *owner,
											const char *why);

/* see key_file.h */
bool
key_file_is_set(void)
{
	return mailman_key_file != NULL && mailman_key_file[0] != '\0';
}

/* see key_file.h */
void
stored_columns(const Stored *stored, Datum *values, char *nulls)
{
	values[0] = PointerGetDatum(stored->bytes);
	if (stored->wrapped_by != NULL)
		values[1] = CStringGetTextDatum(stored->wrapped_by);
	nulls[1] = stored->wrapped_by != NULL ? ' ' : 'n';
}

/* What the server asks of its own keys; NULL, or what is wrong */
static const char *
key_file_check(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "it belongs neither to the server's user nor to root";
	if (st->st_uid == geteuid() && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return "it has group or world access; 0600 is what it may have";
	if (st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0)
		return "it has world access, or more than read access of its group; 0640 is what it may have";
	return NULL;
}

/* Read it into text; the number of bytes, or -1 with *why */
static int
key_file_slurp(char *text, const char **why)
{
	struct stat st;
	int			fd;
	int			len;

	/* a pipe would wait for its other end */
	if (stat(mailman_key_file, &st) < 0)
	{
		*why = pstrdup(strerror(errno));
		return -1;
	}
	if ((*why = key_file_check(&st)) != NULL)
		return -1;
	fd = OpenTransientFile(mailman_key_file, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
	{
		*why = pstrdup(strerror(errno));
		return -1;
	}
	len = -1;
	if (fstat(fd, &st) < 0)
		*why = pstrdup(strerror(errno));
	else if ((*why = key_file_check(&st)) == NULL)
	{
		len = (int) read(fd, text, FILE_SIZE_MAX);
		if (len < 0)
			*why = pstrdup(strerror(errno));
		else if (len == FILE_SIZE_MAX)
		{
			*why = "it is too large";
			len = -1;
		}
	}
	CloseTransientFile(fd);
	return len;
}

/* Read the keys; NULL, or what is wrong with the file */
static const char *
key_file_read(WrapKeys *keys)
{
	char		text[FILE_SIZE_MAX];
	const char *why;
	int			len;
	int			line;

	keys->count = 0;
	if (!key_file_is_set())
		return "it is not set";
	len = key_file_slurp(text, &why);
	if (len < 0)
		return why;
	if (wrap_keys_read(keys, text, len, &why, &line))
		why = NULL;
	else if (line > 0)
		why = psprintf("line %d %s", line, why);
	explicit_bzero(text, sizeof(text));
	if (why != NULL)
		wrap_keys_forget(keys);
	return why;
}

/* Why that key cannot be used; else it is in *found, which is of *keys */
static const char *
key_file_find(WrapKeys *keys, const char *id, const WrapKey **found)
{
	const char *why = key_file_read(keys);

	*found = NULL;
	if (why != NULL)
		return why;
	*found = wrap_keys_find(keys, id);
	return *found != NULL ? NULL :
		psprintf("key %s is not in it", id);
}

/* see key_file.h */
char *
key_file_fault(const char *wrapped_by)
{
	WrapKeys	keys;
	const WrapKey *key;
	const char *why = key_file_find(&keys, wrapped_by, &key);

	wrap_keys_forget(&keys);
	return why == NULL ? NULL :
		psprintf("mailman.key_file cannot be used: %s", why);
}

static void
key_file_refuse(WrapKeys *keys, const char *owner, const char *why)
{
	wrap_keys_forget(keys);
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("mailman.key_file cannot be used: %s", why),
			 errdetail("It is needed for the secret of %s.", owner),
			 errhint("Letters wait, and go on as soon as the file is in order.")));
}

/* see key_file.h */
char *
key_file_owner(const char *table, int64 newsletter_id, const char *name)
{
	return psprintf("mailman.%s, newsletter " INT64_FORMAT ", %s", table,
					newsletter_id, name);
}

/* see key_file.h */
void
key_file_wrap(Stored *to, const char *owner, const uint8 *secret, size_t len)
{
	bool		plain = !key_file_is_set();
	uint8		nonce[WRAP_NONCE_BYTES];
	WrapKeys	keys;
	const char *why;

	to->wrapped_by = NULL;
	to->bytes = palloc(VARHDRSZ + len + (plain ? 0 : WRAP_OVERHEAD));
	SET_VARSIZE(to->bytes, VARHDRSZ + len + (plain ? 0 : WRAP_OVERHEAD));
	if (plain)
	{
		memcpy(VARDATA(to->bytes), secret, len);
		return;
	}
	why = key_file_read(&keys);
	if (why != NULL)
		key_file_refuse(&keys, owner, why);
	if (!pg_strong_random(nonce, sizeof(nonce)) ||
		!wrap_seal((uint8 *) VARDATA(to->bytes), &keys.keys[0], nonce, owner,
				   secret, len))
	{
		wrap_keys_forget(&keys);
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not encrypt the secret of %s", owner)));
	}
	to->wrapped_by = pstrdup(keys.keys[0].id);
	wrap_keys_forget(&keys);
}

/* see key_file.h */
uint8 *
key_file_unwrap(const Stored *from, const char *owner, size_t *len)
{
	size_t		stored = VARSIZE_ANY_EXHDR(from->bytes);
	uint8	   *secret = palloc(stored + 1);
	const WrapKey *key;
	WrapKeys	keys;
	const char *why;
	bool		ok;

	*len = stored;
	memcpy(secret, VARDATA_ANY(from->bytes), stored);
	secret[stored] = '\0';
	if (from->wrapped_by == NULL)
		return secret;
	why = key_file_find(&keys, from->wrapped_by, &key);
	if (why != NULL)
		key_file_refuse(&keys, owner, why);
	ok = wrap_open(secret, key, owner, (uint8 *) VARDATA_ANY(from->bytes),
				   stored);
	wrap_keys_forget(&keys);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the secret of %s cannot be unwrapped", owner),
				 errdetail("It was changed, or put there from another row.")));
	*len = stored - WRAP_OVERHEAD;
	secret[*len] = '\0';
	return secret;
}
