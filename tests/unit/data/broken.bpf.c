// SPDX-License-Identifier: GPL-2.0-only
/* Does not compile. */
int mine_bind4(void *ctx)
{
	return undeclared_name;
}
