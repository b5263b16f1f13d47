/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A port type in C for the tests of module loading: what is sent comes back, each frame's last byte counted up. Built
 * with -DTYPE=<number>, and with one of the -D...: below to do one thing wrong.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portway_vport.h"

#ifndef TYPE
#define TYPE 3000
#endif
#ifndef ABI
#define ABI PORTWAY_ABI_VERSION
#endif
#ifndef MAGIC
#define MAGIC PORTWAY_MAGIC
#endif
#ifndef TABLE_TYPE
#define TABLE_TYPE TYPE
#endif
#ifndef SIZE
#define SIZE sizeof(struct portway_port_module)
#endif
#ifndef CREATE_CODE
#define CREATE_CODE 0
#endif

struct loop_port {
	pthread_mutex_t lock;
	uint32_t n;
	struct portway_packet *queue[PORTWAY_BATCH_MAX];
	uint8_t options[64];
	size_t options_len;
};

static const struct portway_host_api *host;

static void say(const char *text)
{
	host->log(PORTWAY_LOG_INFO, text, strlen(text));
}

/* Notes what happens in a file, for a test that counts it. */
static void trace(const char *what)
{
#ifdef TRACE
	FILE *file = fopen(TRACE, "a");

	if (file) {
		fputs(what, file);
		fclose(file);
	}
#else
	(void)what;
#endif
}

static int32_t loop_init(const struct portway_host_api *api)
{
	host = api;
	say("loop.c: init");
	trace("init\n");
#ifdef SLOW_INIT
	struct timespec pause = { .tv_sec = 0, .tv_nsec = 200000000 };
	nanosleep(&pause, NULL);
#endif
#ifdef INIT_CODE
	return INIT_CODE;
#else
	return 0;
#endif
}

static void loop_exit(void)
{
	trace("exit\n");
}

static void describe(struct portway_port_info *info)
{
	memset(info, 0, sizeof(*info));
	info->mtu = 9000;
	info->rx_queues = 1;
	info->link_up = 1;
	info->flags = PORTWAY_INFO_NO_MTU | PORTWAY_INFO_OFFLOAD | PORTWAY_INFO_BUSY_POLL;
}

static int32_t loop_create(const struct portway_port_params *params, void **out, struct portway_port_info *info)
{
	struct loop_port *port;

	if (CREATE_CODE)
		return CREATE_CODE;
	if (params->options_len > sizeof(port->options))
		return -EMSGSIZE;
#ifdef NULL_PORT
	(void)out;
	(void)info;
	return 0;
#endif
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	pthread_mutex_init(&port->lock, NULL);
	if (params->options_len)
		memcpy(port->options, params->options, params->options_len);
	port->options_len = params->options_len;
	describe(info);
	*out = port;
	return 0;
}

static void loop_destroy(void *data)
{
	struct loop_port *port = data;

	for (uint32_t i = 0; i < port->n; i++)
		port->queue[i]->release(port->queue[i]);
	pthread_mutex_destroy(&port->lock);
	free(port);
}

static ssize_t loop_get_options(void *data, uint8_t *out, size_t cap)
{
	struct loop_port *port = data;

	if (port->options_len == 0)
		return -ENODATA;
	if (port->options_len > cap)
		return -EMSGSIZE;
	memcpy(out, port->options, port->options_len);
#ifdef LONG_OPTIONS
	return (ssize_t)cap + 1;
#endif
	return (ssize_t)port->options_len;
}

static int32_t loop_get_info(void *data, struct portway_port_info *info)
{
	(void)data;
	describe(info);
	return 0;
}

static int32_t loop_rx(void *data, uint32_t queue, struct portway_pool *pool, struct portway_packet **out, uint32_t max)
{
	struct loop_port *port = data;
	uint32_t n;

	(void)queue;
	(void)pool;
	pthread_mutex_lock(&port->lock);
	n = port->n < max ? port->n : max;
	memcpy(out, port->queue, n * sizeof(*out));
	port->n = 0;
	pthread_mutex_unlock(&port->lock);
#ifdef RX_CODE
	return RX_CODE;
#else
	return (int32_t)n;
#endif
}

static int32_t loop_tx(void *data, uint32_t queue, struct portway_pool *pool, struct portway_packet **packets, uint32_t n,
		       struct portway_tx_report *report)
{
	struct loop_port *port = data;

	(void)queue;
	pthread_mutex_lock(&port->lock);
	for (uint32_t i = 0; i < n; i++) {
		struct portway_packet *packet = packets[i];

		if (port->n == PORTWAY_BATCH_MAX) {
			pool->free(pool, &packet, 1);
			report->dropped++;
			continue;
		}
		packet->area[packet->data + packet->len - 1]++;
		port->queue[port->n++] = packet;
		report->sent++;
		report->sent_bytes += packet->len;
	}
	pthread_mutex_unlock(&port->lock);
#ifdef TX_EXTRA
	report->sent += TX_EXTRA;
#endif
#ifdef TX_CODE
	return TX_CODE;
#else
	return 0;
#endif
}

static const struct portway_option_spec options[] = {
	{ .attr = 1, .kind = PORTWAY_OPTION_U32, .name = "cookie", .help = "A number that is reported back." },
#ifdef BAD_OPTION
	{ .attr = 2, .kind = 99, .name = "odd", .help = NULL },
#endif
};

#ifdef OTHER_SYMBOL
#define EXPORT static const struct portway_port_module nobody_sees_this __attribute__((used))
#else
#define EXPAND(type) PORTWAY_MODULE(type)
#define EXPORT EXPAND(TYPE)
#endif

EXPORT = {
	.magic = MAGIC,
	.abi_version = ABI,
	.size = SIZE,
	.port_type = TABLE_TYPE,
#ifndef NO_NAME
	.name = "c-loop",
#endif
	.options = options,
	.n_options = sizeof(options) / sizeof(options[0]),
	.init = loop_init,
	.exit = loop_exit,
	.create = loop_create,
	.destroy = loop_destroy,
	.get_options = loop_get_options,
	.get_info = loop_get_info,
	.rx = loop_rx,
#ifndef NO_TX
	.tx = loop_tx,
#endif
};
