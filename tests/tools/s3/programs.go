//go:build programs

package programs

import _ "github.com/versity/versitygw/cmd/versitygw"
