package namespace

import (
	"encoding/binary"

	"github.com/forebay/forebay/system/dfs"
	"github.com/forebay/forebay/system/master/inodestore"
)

// Bounds of the session table.
const (
	maxSessions          = 200_000
	maxAnswersPerSession = 8192
)

// session is what every replica remembers of one client (contract C2). It is a pure function of the applied entries.
// answers holds those at or above ackedBelow; records are the stored ones, each of which may hold some that are
// acknowledged already. Both are bounded by maxAnswersPerSession, beyond which the session gets no new mutation.
type session struct {
	id         dfs.SessionID
	nonce      uint64
	client     string
	ackedBelow uint64
	answers    map[uint64]answer
	records    []answerRecord // ascending
}

// answerRecord is one stored record of answers: the key's sequence and the highest sequence in it.
type answerRecord struct{ key, last uint64 }

// sessionTable is guarded by Machine.mu.
// A nonce leads to one session; the pair comes and goes together.
type sessionTable struct {
	byID    map[dfs.SessionID]*session
	byNonce map[uint64]dfs.SessionID
}

func newSessionTable() *sessionTable {
	return &sessionTable{byID: map[dfs.SessionID]*session{}, byNonce: map[uint64]dfs.SessionID{}}
}

// sessionHead is the value of a session's head record: the nonce, then the client's name.
func sessionHead(nonce uint64, client string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, nonce), client...)
}

// observe keeps the table in step with a record of TableSession that an entry sets or deletes.
// A key of 8 bytes is a head, one of 16 an entry's answers; others are no records of this version and are passed over.
// The deletion of answers needs nothing: remember and trim keep the table.
func (t *sessionTable) observe(key, value []byte) error {
	id := dfs.SessionID(keyID(key))
	if len(key) == 8 {
		if value == nil {
			if s := t.byID[id]; s != nil {
				delete(t.byNonce, s.nonce)
				delete(t.byID, id)
			}
			return nil
		}
		nonce := keyID(value)
		t.byID[id] = &session{id: id, nonce: nonce, client: string(value[min(8, len(value)):]), answers: map[uint64]answer{}}
		t.byNonce[nonce] = id
		return nil
	}
	if value == nil || len(key) != 16 {
		return nil
	}
	a, err := decodeAnswers(id, value)
	if err != nil {
		return err
	}
	t.remember(a)
	return nil
}

// remember adds answers and returns nothing when the session is gone. An answer that comes after the session's end is
// dropped, by every replica alike: its client has nobody left to ask. The answers become one record, keyed by the
// lowest sequence among them.
func (t *sessionTable) remember(a *sessionAnswers) *session {
	s := t.byID[a.session]
	if s == nil || len(a.answers) == 0 {
		return s
	}
	rec := answerRecord{key: a.answers[0].sequence}
	for _, x := range a.answers {
		s.answers[x.sequence] = x
		rec.key = min(rec.key, x.sequence)
		rec.last = max(rec.last, x.sequence)
	}
	s.records = append(s.records, rec)
	s.ackedBelow = max(s.ackedBelow, a.ackedBelow)
	return s
}

// Answers are kept per entry, not per mutation: one record holds all that a session got in an entry, and is deleted when
// the last of them is acknowledged. In memory each answer goes as soon as it is acknowledged; load trims to the same
// state, so that a replica that restarted answers like one that did not.

// applyAnswers stores one entry's answers of one session and drops those that the client has acknowledged.
// Machine.mu is held for writing. It depends on nothing but the table and a, so every replica writes and deletes the
// same records.
func (t *sessionTable) applyAnswers(b inodestore.Batch, a *sessionAnswers) {
	s := t.remember(a)
	if s == nil {
		return
	}
	if len(a.answers) > 0 {
		last := s.records[len(s.records)-1]
		b.PutRecord(inodestore.TableSession, answersKey(s.id, last.key), appendAnswers(nil, a))
	}
	s.ackedBelow = max(s.ackedBelow, a.ackedBelow)
	kept := s.records[:0]
	for _, r := range s.records {
		if r.last >= s.ackedBelow {
			kept = append(kept, r)
			continue
		}
		b.DeleteRecord(inodestore.TableSession, answersKey(s.id, r.key))
	}
	s.records = kept
	s.trim()
}

// trim drops the answers that the client has acknowledged.
func (s *session) trim() {
	for sequence := range s.answers {
		if sequence < s.ackedBelow {
			delete(s.answers, sequence)
		}
	}
}

// answersKey is where a session keeps the answers of one entry. Session ids have 8 bytes, so a head record, which is
// the id alone, sorts before the answers of its session.
func answersKey(id dfs.SessionID, first uint64) []byte {
	return binary.BigEndian.AppendUint64(idKey(uint64(id)), first)
}

// load rebuilds the table from the store.
// Heads come before the answers of their session, by the order of keys.
func (t *sessionTable) load(r inodestore.Reader) error {
	var fault error
	err := r.Records(inodestore.TableSession, nil, nil, func(key, value []byte) bool {
		fault = t.observe(key, value)
		return fault == nil
	})
	for _, s := range t.byID { // a record is dropped as a whole, its first answers earlier
		s.trim()
	}
	if fault != nil {
		return fault
	}
	return err
}
