/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GNOMON_TYPES_H
#define GNOMON_TYPES_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
#endif
