package acme

// Status is the state of an account, order, authorization or challenge in the RFC's words (RFC 8555, 7.1.6). None is
// recorded: each is computed from what happened and the time.
type Status string

// The statuses. Which object can have which is said where it is computed.
const (
	StatusPending     Status = "pending"
	StatusReady       Status = "ready"
	StatusProcessing  Status = "processing"
	StatusValid       Status = "valid"
	StatusInvalid     Status = "invalid"
	StatusExpired     Status = "expired"
	StatusDeactivated Status = "deactivated"
)
