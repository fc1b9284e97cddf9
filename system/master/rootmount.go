package master

import (
	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/metasync"
	"github.com/forebay/forebay/system/proto"
)

// mountRoot mounts the configured under store at / of a cluster that has nothing yet. A cluster that has something is
// left alone: its operator may have unmounted the root. A store that cannot be opened is tried again for as long as
// this leadership lasts; the master serves meanwhile.
// NotEmpty means that files came before the store did; they are never hidden. Two leaders cannot both mount: the
// second finds the table filled when its barrier is passed.
func (l *leadership) mountRoot() {
	for l.ctx.Err() == nil && len(l.m.machine.Mounts().All()) == 0 {
		_, err := l.mount(l.ctx, l.own(), dfs.Root, &proto.MountUfs{Path: "/", Uri: l.m.cfg.RootURI, SyncInterval: int64(metasync.Never)})
		if err == nil || dfs.IsKind(err, dfs.NotEmpty) {
			return
		}
		l.m.log.Warn("cannot mount the root's under store; trying again", "uri", l.m.cfg.RootURI, "error", err)
		if l.m.h.Sleep(l.ctx, mountRootRetry) != nil {
			return
		}
	}
}
