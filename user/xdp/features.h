/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* features.h: what the driver of an interface says it can do for XDP. */
#ifndef TAIO_XDP_FEATURES_H
#define TAIO_XDP_FEATURES_H

#include <stdint.h>

#define XDP_FEATURE_BASIC     (1ULL << 0) /* takes programs itself: native mode */
#define XDP_FEATURE_ZERO_COPY (1ULL << 3) /* AF_XDP without a copy */

/* By generic netlink ("netdev"), unprivileged. Return: 0; -ENODEV; -EOPNOTSUPP: a kernel that does
 * not tell (before 6.3); other negative errno. */
int xdp_features(uint32_t ifindex, uint64_t *ret_features);

#endif /* TAIO_XDP_FEATURES_H */
