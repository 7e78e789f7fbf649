#!/bin/sh
# In a VM that is the desktop of another one: the helper, and QEMU with the kernel's vhost-vsock.
cd /opt
printf 'hostNetworking: {enabled: true}\ntunnel: {listen: "vsock://43:1024"}\n' >s.yaml
printf 'while true; do echo from the inner VM | nc -l -N 0.0.0.0 8000; done\n' >run
/opt/twinport host --settings /opt/s.yaml --control /opt/c.sock &
# Debian's QEMU loads its accelerators as modules.
export QEMU_MODULE_DIR=/opt/lib
exec /opt/qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 256 -nodefaults -nographic -no-reboot -L /opt/firmware \
    -serial file:/tmp/inner.log -kernel vmlinuz -initrd initramfs -append "console=ttyS0 quiet panic=-1" \
    -device vhost-vsock-pci,guest-cid=43 -fw_cfg name=opt/twinport/connect,string=vsock://2:1024 \
    -fw_cfg name=opt/twinport/run,file=run
