/*-------------------------------------------------------------------------
 *
 * render_context.c
 *	  What the names in a template stand for.
 *
 *	{{subscription.email}}	{{subscription.name}}	{{subscription.data.x}}
 *	{{email}}				{{name}}				{{data.x}}
 *	{{variables.x}}			{{newsletter.x}}		{{letter.x}}
 *	{{unsubscribe_url}}
 *
 * Two objects are made up here: the outermost one, and the subscription.  The
 * others lie in the letter and the recipient as they were loaded.
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "render.h"

static inline bool
is_key(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(key, name, len) == 0;
}

/* name, email and data, which are short for the subscription's */
static bool
subscription_get(const TemplateNode *node, const char *key, size_t len,
				 TemplateNode *member)
{
	const RenderContext *context = node->data;
	const RenderRecipient *recipient = context->recipient;

	if (is_key(key, len, "name"))
		template_string(member, recipient->name);
	else if (is_key(key, len, "data"))
		*member = recipient->data;
	else if (is_key(key, len, "email"))
		template_string(member, recipient->email);
	else
		return false;
	return true;
}

static const TemplateAccess subscription_access = {.get = subscription_get};

static bool
context_get(const TemplateNode *node, const char *key, size_t len,
			TemplateNode *member)
{
	const RenderContext *context = node->data;

	if (subscription_get(node, key, len, member))
		return true;
	if (is_key(key, len, "variables"))
		*member = context->recipient->variables;
	else if (is_key(key, len, "newsletter"))
		*member = context->letter->newsletter;
	else if (is_key(key, len, "letter"))
		*member = context->letter->letter;
	else if (is_key(key, len, "unsubscribe_url"))
		template_string(member, context->recipient->unsubscribe_url);
	else if (is_key(key, len, "subscription"))
	{
		*member = *node;
		member->access = &subscription_access;
	}
	else
		return false;
	return true;
}

static const TemplateAccess context_access = {.get = context_get};

/* see render.h */
TemplateNode
render_context(const RenderContext *context)
{
	TemplateNode node = {.kind = TEMPLATE_OBJECT,.truth = true};

	node.data = context;
	node.access = &context_access;
	return node;
}
