#include "vmm/command_line.h"

#include "common/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A comma inside a value of QEMU's option lists is doubled. */
#define ESCAPED_MAX (2 * VM_PATH_MAX)

struct escaped {
	char text[ESCAPED_MAX];
};

static const char *escape(const char *in, struct escaped *out)
{
	size_t n = 0;

	for (; *in && n + 2 < sizeof(out->text); in++) {
		if (*in == ',')
			out->text[n++] = ',';
		out->text[n++] = *in;
	}
	out->text[n] = '\0';
	return out->text;
}

/* Appends an argument; after the first failure nothing more, n says so. */
static void __attribute__((format(printf, 2, 3)))
add(struct vm_command_line *c, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	if (c->n >= VM_ARGS_MAX) {
		c->n = VM_ARGS_MAX + 1;
		return;
	}
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		c->n = VM_ARGS_MAX + 1;
		return;
	}
	c->args[c->n++] = text;
	c->args[c->n] = NULL;
}

static void add_base(struct vm_command_line *c, const struct vm_definition *d,
		     const struct vm_command_context *x)
{
	struct escaped e;
	char uuid[VS_UUID_TEXT];

	vs_uuid_format(&d->uuid, uuid);
	add(c, "%s", x->qemu);
	add(c, "-name");
	add(c, "guest=%s,debug-threads=on", d->name);
	add(c, "-uuid");
	add(c, "%s", uuid);
	add(c, "-machine");
	add(c, "q35,accel=%s,memory-backend=mem,dump-guest-core=off", vm_accel_name(x->accel));
	add(c, "-cpu");
	add(c, "%s", x->cpu);
	add(c, "-smp");
	add(c, "%u", d->cpus);
	add(c, "-m");
	add(c, "%lluM", (unsigned long long)(d->memory >> 20));
	add(c, "-object");
	add(c, "memory-backend-memfd,id=mem,size=%llu,share=on", (unsigned long long)d->memory);
	add(c, "-no-user-config");
	add(c, "-nodefaults");
	/* a guest that powers off while no daemon runs stays, so that its end is seen as what it is
	 */
	add(c, "-no-shutdown");
	add(c, "-sandbox");
	add(c, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add(c, "-pidfile");
	add(c, "%s/pid", x->folder);
	add(c, "-chardev");
	add(c, "socket,id=qmp,fd=%d,server=on,wait=off", x->qmp_fd);
	add(c, "-mon");
	add(c, "chardev=qmp,mode=control");
	add(c, "-chardev");
	add(c, "socket,id=console,fd=%d,server=on,wait=off", x->console_fd);
	add(c, "-device");
	add(c, "isa-serial,chardev=console");
	add(c, "-vnc");
	add(c, "unix:%s/vnc.sock", escape(x->folder, &e));
	add(c, "-device");
	add(c, "VGA");
	add(c, "-object");
	add(c, "rng-random,id=random,filename=/dev/urandom");
	add(c, "-device");
	add(c, "virtio-rng-pci,rng=random");
}

static void add_firmware(struct vm_command_line *c, const struct vm_definition *d,
			 const struct vm_command_context *x)
{
	struct escaped e;

	if (d->firmware == VM_UEFI) {
		add(c, "-drive");
		add(c, "if=pflash,unit=0,format=raw,readonly=on,file=%s", escape(x->uefi_code, &e));
		add(c, "-drive");
		add(c, "if=pflash,unit=1,format=raw,file=%s", escape(x->uefi_vars, &e));
	}
	if (!d->kernel[0])
		return;
	add(c, "-kernel");
	add(c, "%s", d->kernel);
	if (d->initrd[0]) {
		add(c, "-initrd");
		add(c, "%s", d->initrd);
	}
	if (d->append[0]) {
		add(c, "-append");
		add(c, "%s", d->append);
	}
}

#define CDROM "if=none,id=cdrom,media=cdrom,readonly=on,format=raw,"
/* Seconds that requests wait for a server that was restarted; after that they fail, and it is
 * connected to all the same once it is back. */
#define CDROM_WAITS 600

static void add_cdrom(struct vm_command_line *c, const struct vm_definition *d)
{
	struct escaped e;

	if (!d->cdrom[0])
		return;
	add(c, "-drive");
	if (d->cdrom_socket[0])
		add(c,
		    CDROM "file.driver=nbd,file.server.type=unix,file.server.path=%s,"
			  "file.export=%s,file.reconnect-delay=%d",
		    escape(d->cdrom_socket, &e), d->cdrom_export, CDROM_WAITS);
	else
		add(c, CDROM "file=%s", escape(d->cdrom, &e));
	add(c, "-device");
	add(c, "ide-cd,drive=cdrom,bootindex=%u", VM_DISKS_MAX + 1);
}

static void add_disks(struct vm_command_line *c, const struct vm_definition *d)
{
	unsigned queues = VS_MIN(d->cpus, VM_DISK_QUEUES);
	struct escaped e;

	for (unsigned i = 0; i < d->ndisks; i++) {
		add(c, "-chardev");
		add(c, "socket,id=disk%u,path=%s,reconnect=1", i, escape(d->disks[i].socket, &e));
		add(c, "-device");
		add(c, "vhost-user-blk-pci,id=vda%u,chardev=disk%u,num-queues=%u,bootindex=%u", i,
		    i, queues, i + 1);
	}
}

static void add_nics(struct vm_command_line *c, const struct vm_definition *d)
{
	for (unsigned i = 0; i < d->nnics; i++) {
		const uint8_t *u = d->uuid.b;
		char mac[18];

		/* QEMU's prefix and three bytes of the UUID: stable over restarts */
		snprintf(mac, sizeof(mac), "52:54:00:%02x:%02x:%02x", u[13], u[14],
			 (uint8_t)(u[15] + i));
		add(c, "-netdev");
		add(c, "user,id=net%u", i);
		add(c, "-device");
		add(c, "virtio-net-pci,netdev=net%u,mac=%s,romfile=", i,
		    d->nics[i].mac[0] ? d->nics[i].mac : mac);
	}
}

int vm_command_line_build(const struct vm_definition *def, const struct vm_command_context *ctx,
			  struct vm_command_line *out, struct vs_error *err)
{
	out->n = 0;
	out->args[0] = NULL;
	if (def->cdrom[0] && def->cdrom[0] != '/' && !def->cdrom_socket[0])
		return vs_fail(err, VS_E_INVAL,
			       "machine %s: nobody serves the image in its CD drive", def->name);
	add_base(out, def, ctx);
	add_firmware(out, def, ctx);
	add_disks(out, def);
	add_cdrom(out, def);
	add_nics(out, def);
	if (out->n > VM_ARGS_MAX)
		return vs_fail(err, VS_E_LIMIT, "machine %s: too many devices, or out of memory",
			       def->name);
	return 0;
}

void vm_command_line_free(struct vm_command_line *c)
{
	for (unsigned i = 0; i < VM_ARGS_MAX && c->args[i]; i++)
		free(c->args[i]);
	c->args[0] = NULL;
	c->n = 0;
}
