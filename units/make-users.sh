#!/bin/sh
# Run by `meson install`. A boot makes users and folders before any unit, and reads message catalogs; a system
# that is running already needs that now.
test -z "$DESTDIR" && test -d /run/systemd/system && test "$(id -u)" = 0 || exit 0
systemd-sysusers "$1/lib/sysusers.d/wakechain.conf"
systemd-tmpfiles --create "$1/lib/tmpfiles.d/wakechain.conf"
journalctl --update-catalog
