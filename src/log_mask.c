/*-------------------------------------------------------------------------
 *
 * log_mask.c
 *	  Private keys do not get into the server's log.
 *
 * mailman_set_dkim_key() is given a private key in the text of a statement,
 * and the server likes to log statements: those that fail, those that take
 * long, all of them.  errhidestmt() would cover what the function itself
 * complains of.  But a role without EXECUTE never gets into it, nor does a
 * statement with a mistake in it.  So whatever a process with this library
 * logs is looked at before it is written.
 *
 * It is a hook of the log: nothing here allocates memory or can fail.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "tcop/tcopprot.h"

#define KEY_BEGIN		"PRIVATE KEY-----"
#define KEY_END			"-----END"
#define KEY_MASK		"..."
#define KEY_FUNCTION	"mailman_set_dkim_key"

static emit_log_hook_type next_hook = NULL;

/* Cut what is between the two lines of a key in PEM, where it lies */
static void
mask_keys(char *text)
{
	char	   *at = text;

	while (at != NULL && (at = strstr(at, KEY_BEGIN)) != NULL)
	{
		char	   *end;

		at += strlen(KEY_BEGIN);
		end = strstr(at, KEY_END);
		if (end == NULL)
			end = at + strlen(at);
		if (end - at < (ptrdiff_t) strlen(KEY_MASK))
			continue;
		memcpy(at, KEY_MASK, strlen(KEY_MASK));
		at += strlen(KEY_MASK);
		memmove(at, end, strlen(end) + 1);
		/* the line behind the key says PRIVATE KEY, too */
		at = strstr(at, KEY_BEGIN);
		if (at != NULL)
			at += strlen(KEY_BEGIN);
	}
}

static void
mask_log(ErrorData *edata)
{
	const char *statement = debug_query_string;

	if (statement != NULL && !edata->hide_stmt &&
		(strstr(statement, KEY_FUNCTION) != NULL ||
		 strstr(statement, KEY_BEGIN) != NULL))
		edata->hide_stmt = true;
	mask_keys(edata->message);
	mask_keys(edata->detail);
	mask_keys(edata->detail_log);
	mask_keys(edata->context);
	mask_keys(edata->internalquery);
	if (next_hook != NULL)
		next_hook(edata);
}

/* see mailman.h */
void
log_mask_register(void)
{
	next_hook = emit_log_hook;
	emit_log_hook = mask_log;
}
