/*-------------------------------------------------------------------------
 *
 * report_status.c
 *	  What replies mean, in a few words.
 *
 * Enhanced status codes as RFC 3463 has them and IANA's registry since (RFC
 * 4954, 5248, 6531, 6710, 7372, 7505); a reply without one by its basic code
 * (RFC 5321 4.2).  The class, the first digit, says only whether it is final.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

typedef struct Meaning
{
	int			number;
	const char *words;
} Meaning;

#define X(subject, detail) ((subject) * 1000 + (detail))

static const Meaning enhanced_meanings[] = {
	{X(0, 0), "Undefined status"},
	{X(1, 0), "Other address status"},
	{X(1, 1), "Bad destination mailbox address"},
	{X(1, 2), "Bad destination system address"},
	{X(1, 3), "Bad destination mailbox address syntax"},
	{X(1, 4), "Destination mailbox address ambiguous"},
	{X(1, 5), "Destination address valid"},
	{X(1, 6), "Mailbox has moved, no forwarding address"},
	{X(1, 7), "Bad sender's mailbox address syntax"},
	{X(1, 8), "Bad sender's system address"},
	{X(1, 9), "Message relayed to non-compliant mailer"},
	{X(1, 10), "Recipient address has null MX"},
	{X(2, 0), "Other or undefined mailbox status"},
	{X(2, 1), "Mailbox disabled, not accepting messages"},
	{X(2, 2), "Mailbox full"},
	{X(2, 3), "Message length exceeds administrative limit"},
	{X(2, 4), "Mailing list expansion problem"},
	{X(3, 0), "Other or undefined mail system status"},
	{X(3, 1), "Mail system full"},
	{X(3, 2), "System not accepting network messages"},
	{X(3, 3), "System not capable of selected features"},
	{X(3, 4), "Message too big for system"},
	{X(3, 5), "System incorrectly configured"},
	{X(3, 6), "Requested priority was changed"},
	{X(4, 0), "Other or undefined network or routing status"},
	{X(4, 1), "No answer from host"},
	{X(4, 2), "Bad connection"},
	{X(4, 3), "Directory server failure"},
	{X(4, 4), "Unable to route"},
	{X(4, 5), "Mail system congestion"},
	{X(4, 6), "Routing loop detected"},
	{X(4, 7), "Delivery time expired"},
	{X(5, 0), "Other or undefined protocol status"},
	{X(5, 1), "Invalid command"},
	{X(5, 2), "Syntax error"},
	{X(5, 3), "Too many recipients"},
	{X(5, 4), "Invalid command arguments"},
	{X(5, 5), "Wrong protocol version"},
	{X(5, 6), "Authentication exchange line is too long"},
	{X(6, 0), "Other or undefined media error"},
	{X(6, 1), "Media not supported"},
	{X(6, 2), "Conversion required and prohibited"},
	{X(6, 3), "Conversion required but not supported"},
	{X(6, 4), "Conversion with loss performed"},
	{X(6, 5), "Conversion failed"},
	{X(6, 6), "Message content not available"},
	{X(6, 7), "Non-ASCII addresses not permitted"},
	{X(6, 8), "UTF-8 string reply is required, but not permitted"},
	{X(6, 9), "UTF-8 header message cannot be transferred"},
	{X(7, 0), "Other or undefined security status"},
	{X(7, 1), "Delivery not authorized, message refused"},
	{X(7, 2), "Mailing list expansion prohibited"},
	{X(7, 3), "Security conversion required but not possible"},
	{X(7, 4), "Security features not supported"},
	{X(7, 5), "Cryptographic failure"},
	{X(7, 6), "Cryptographic algorithm not supported"},
	{X(7, 7), "Message integrity failure"},
	{X(7, 8), "Authentication credentials invalid"},
	{X(7, 9), "Authentication mechanism is too weak"},
	{X(7, 10), "Encryption needed"},
	{X(7, 11), "Encryption required for this mechanism"},
	{X(7, 12), "A password transition is needed"},
	{X(7, 13), "User account disabled"},
	{X(7, 14), "Trust relationship required"},
	{X(7, 15), "Priority level is too low"},
	{X(7, 16), "Message is too big for the specified priority"},
	{X(7, 17), "Mailbox owner has changed"},
	{X(7, 18), "Domain owner has changed"},
	{X(7, 19), "Recipient valid-since test cannot be completed"},
	{X(7, 20), "No passing DKIM signature found"},
	{X(7, 21), "No acceptable DKIM signature found"},
	{X(7, 22), "No valid author-matched DKIM signature found"},
	{X(7, 23), "SPF validation failed"},
	{X(7, 24), "SPF validation error"},
	{X(7, 25), "Reverse DNS validation failed"},
	{X(7, 26), "Multiple authentication checks failed"},
	{X(7, 27), "Sender address has null MX"},
	{X(7, 28), "Mail flood detected"},
	{X(7, 29), "ARC validation failure"},
	{X(7, 30), "REQUIRETLS support required"}
};

static const char *const subject_meanings[] = {
	"Other or undefined status", "Addressing status", "Mailbox status",
	"Mail system status", "Network and routing status",
	"Mail delivery protocol status", "Message content or media status",
	"Security or policy status"
};

static const Meaning code_meanings[] = {
	{421, "Service not available, closing transmission channel"},
	{450, "Mailbox unavailable: busy or temporarily blocked"},
	{451, "Local error in processing"},
	{452, "Insufficient system storage"},
	{454, "Temporary authentication failure"},
	{455, "Server unable to accommodate parameters"},
	{500, "Syntax error, command unrecognized"},
	{501, "Syntax error in parameters or arguments"},
	{502, "Command not implemented"},
	{503, "Bad sequence of commands"},
	{504, "Command parameter not implemented"},
	{521, "Host does not accept mail"},
	{530, "Authentication required"},
	{535, "Authentication credentials invalid"},
	{541, "Message rejected by the recipient"},
	{550, "Mailbox unavailable: not found, or refused by policy"},
	{551, "User not local"},
	{552, "Exceeded storage allocation"},
	{553, "Mailbox name not allowed"},
	{554, "Transaction failed"},
	{555, "MAIL or RCPT parameters not recognized"},
	{556, "Domain does not accept mail"}
};

static const char *
meaning_find(const Meaning *meanings, int count, int number)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		if (meanings[i].number == number)
			return meanings[i].words;
	}
	return NULL;
}

/* see report.h */
const char *
status_meaning(int code, const char *enhanced)
{
	int			class;
	int			subject;
	int			detail;
	const char *words = NULL;

	if (enhanced != NULL &&
		sscanf(enhanced, "%1d.%3d.%3d", &class, &subject, &detail) == 3)
	{
		words = meaning_find(enhanced_meanings, lengthof(enhanced_meanings),
							 X(subject, detail));
		if (words == NULL && (size_t) subject < lengthof(subject_meanings))
			words = subject_meanings[subject];
	}
	if (words == NULL)
		words = meaning_find(code_meanings, lengthof(code_meanings), code);
	if (words == NULL && code / 100 == 4)
		words = "Temporary failure";
	if (words == NULL && code / 100 == 5)
		words = "Permanent failure";
	return words;
}
