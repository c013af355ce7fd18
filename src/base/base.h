/* SPDX-License-Identifier: BSD-3-Clause */
/* base.h: the words every module uses to check, measure and convert.
 *
 * Source: the shapes follow Linux's container_of() and TigerBeetle's habit of asserting both sides.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_USE __attribute__((warn_unused_result))
#define UNUSED __attribute__((unused))
#define CACHE_LINE 64
#define CACHE_ALIGNED __attribute__((aligned(CACHE_LINE)))

/* Run `fn(&variable)` when the variable's scope ends; for the control path. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)
#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* must(): an assertion that stays in release builds; for what would corrupt data if it were false.
 * assert() is for what tests and sanitizer builds should catch; release builds drop it. */
#define must(cond) (likely(cond) ? (void)0 : base_must_failed(#cond, __FILE__, __LINE__, __func__))
__attribute__((noreturn, cold)) void base_must_failed(const char *cond, const char *file, int line,
                                                      const char *func);

/* Memory for the control path and for start-up: zeroed, never NULL (the process ends with a sentence). */
void *base_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *base_zalloc_aligned(size_t align, size_t size) __attribute__((malloc, returns_nonnull));
char *base_strdup(const char *s) __attribute__((malloc, returns_nonnull));

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
static inline bool is_pow2(uint64_t v) { return v && (v & (v - 1)) == 0; }
static inline uint64_t align_up(uint64_t v, uint64_t to) { assert(is_pow2(to)); return (v + to - 1) & ~(to - 1); }
static inline uint64_t div_up(uint64_t v, uint64_t by) { return v / by + (v % by != 0); }

#endif
