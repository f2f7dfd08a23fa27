UPDATE /* schema */riverbridge_quarantine SET reason = %(reason)s WHERE id = %(id)s
