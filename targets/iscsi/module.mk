iscsi_SRCS := $(addprefix targets/iscsi/, \
	chap.c conn.c control.c copy_format.c crc32c.c data.c flow.c handshake.c isns.c isns_format.c keep.c \
	listener.c login.c lu.c negotiate.c pdu_format.c piece.c pr.c pr_format.c rx.c sanitize.c scsi.c scsi_atomic.c scsi_block.c \
	server_target.c scsi_copy.c scsi_defect.c scsi_format.c scsi_inquiry.c scsi_log.c scsi_mode.c scsi_mode_page.c scsi_ops.c scsi_ports.c scsi_pr.c \
	scsi_provision.c scsi_removable.c scsi_report.c scsi_sanitize.c scsi_state.c scsi_status.c scsi_token.c \
	scsi_unit.c server.c session.c share.c target.c task.c text.c text_format.c threshold.c throttle.c tmf.c token.c \
	token_format.c tx.c)
iscsi_TESTS := tests/unit/test_iscsi_format.c tests/unit/test_iscsi_keep.c tests/unit/test_iscsi_listener.c tests/unit/test_iscsi_login.c \
	tests/unit/test_iscsi_pr.c tests/unit/test_iscsi_share.c tests/unit/test_iscsi_stuck.c tests/unit/test_iscsi_throttle.c
