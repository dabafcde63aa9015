// SPDX-License-Identifier: GPL-2.0-only
#define FIRST_REFUSED 1001
#define LAST_REFUSED 1002
#include "mine.h"
