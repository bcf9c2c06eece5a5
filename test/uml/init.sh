#!/bin/sh
# The first process of the user-mode kernel (test/uml/boot.ts). The host's files are its root, read-only; what it writes is
# in memory but for the folder of the results. UML_* are given on the kernel's command line.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/repository /mnt/out /mnt/lib/modules
mount -t hostfs none /mnt/out -o "$UML_OUT"
exec > /mnt/out/console 2>&1
# It may be below /tmp, which some programs write to whatever TMPDIR says.
mount --bind "$UML_ROOT" /mnt/repository
mount -t tmpfs tmpfs /tmp

# The kernel, too, loads modules through this: the host has none of this kernel where it looks for them.
ln -s "$UML_MODULES/$(uname -r)" "/mnt/lib/modules/$(uname -r)"
printf '#!/bin/sh\nexec modprobe -d /mnt "$@"\n' > /mnt/modprobe
chmod +x /mnt/modprobe
echo /mnt/modprobe > /proc/sys/kernel/modprobe
for module in macvlan ipvlan 8021q bonding openvswitch veth dummy bridge; do
  modprobe -d /mnt "$module" || echo "no module $module"
done

cd /mnt/repository || exit 1
export NODE_COMPILE_CACHE=/mnt/compiled HOME=/mnt PATH="/mnt/repository/node_modules/.bin:$UML_NODE:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Each file in namespaces as src/linux/testing/isolated.ts makes them, but by one process: the modules of a test take seconds
# to load here.
number=0
while read -r file; do
  SPIDERPOOL_TEST_ISOLATED="$PWD/$file" unshare --mount --net --pid --fork --kill-child --mount-proc \
    node --test-reporter=./test/uml/reporter.ts --test-reporter-destination="/mnt/out/results.$number" "$file" < /dev/null
  number=$((number + 1))
done < /mnt/out/files
echo done > /mnt/out/ended
busybox poweroff -f
