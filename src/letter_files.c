/*-------------------------------------------------------------------------
 *
 * letter_files.c
 *	  The attachments of a letter, encoded once for all its mails.
 *
 * A mail on its way points into them.  What it points to must stay while a
 * relay reads slowly, though the letter is loaded anew meanwhile, as one of its
 * relays has changed, or its content.  So they have a memory context of their
 * own, which goes with the last who uses it: the letter as it is now, or a mail
 * of what it was.  Loaded anew with the same content, a letter takes them over.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mailman.h"
#include "utils/memutils.h"

/* see letter.h */
void
letter_encode_files(Letter *letter)
{
	const char *fault;

	if (letter->files == NULL)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
													  "mailman files",
													  ALLOCSET_SMALL_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		LetterFiles *files = palloc0(sizeof(LetterFiles));

		files->context = context;
		files->revision = letter->revision;
		files->encoded = render_encode(&letter->render, &fault);
		if (files->encoded == NULL)
			letter_refuse(letter, fault);
		MemoryContextSwitchTo(old);
		letter_free_attachments(letter);
		letter->files = files;
	}
	letter->render.files = letter->files->encoded;
}

/* see letter.h */
void
letter_files_hold(LetterFiles *files)
{
	files->users++;
}

/* see letter.h */
void
letter_files_release(LetterFiles *files)
{
	if (--files->users == 0)
		MemoryContextDelete(files->context);
}
