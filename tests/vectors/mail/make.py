#!/usr/bin/env python3
"""Makes the mail vectors with Python's email package: NAME.eml and, beside it, NAME.json with what must be read from it."""
import hashlib
import json
import pathlib
import unicodedata
from email import charset, encoders, policy
from email.header import Header
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

HERE = pathlib.Path(__file__).parent
SUBJECT = "Về việc tổ chức Hội nghị Ban Chấp hành Đảng bộ tỉnh lần thứ mười lăm, nhiệm kỳ 2025 - 2030"
NAME = "Công văn số 36-HD/VPTW (bản chính thức của Văn phòng).pdf"
DATA = bytes(range(256)) * 40


def write(name, octets, subject, sender, leaves):
    (HERE / f"{name}.eml").write_bytes(octets)
    parts = [{"type": t, "fileName": f, "sha256": hashlib.sha256(d).hexdigest()} for t, f, d in leaves]
    (HERE / f"{name}.json").write_text(json.dumps({"subject": subject, "from": sender, "parts": parts}, ensure_ascii=False, indent=2) + "\n")


def modern(name, subject, file_name):
    m = EmailMessage(policy=policy.SMTP)
    m["Subject"], m["From"], m["To"] = subject, "Văn thư <vanthu@tinhuy.vn>", "xa@huyen.vn"
    text = "Kính gửi: các xã\r\nFrom đầu dòng\r\n.\r\n"
    m.set_content(text, cte="quoted-printable")
    m.add_attachment(DATA, maintype="application", subtype="pdf", filename=file_name)
    write(name, m.as_bytes(), subject, ["Văn thư|vanthu@tinhuy.vn"], [("text/plain", None, text.encode()), ("application/pdf", file_name, DATA)])


def legacy(name, file_name):
    m = MIMEMultipart(policy=policy.compat32)
    m["Subject"] = Header(SUBJECT, "utf-8")
    m["From"] = f"{Header('Văn thư', 'utf-8').encode()} <vanthu@tinhuy.vn>"
    part = MIMEBase("application", "pdf")
    part.set_payload(DATA)
    encoders.encode_base64(part)
    part.set_param("name", Header(file_name, "utf-8", maxlinelen=1000).encode().replace("\n", ""))
    part.add_header("Content-Disposition", "attachment")
    m.attach(part)
    octets = m.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    write(name, octets, SUBJECT, ["Văn thư|vanthu@tinhuy.vn"], [("application/pdf", file_name, DATA)])


def digest_of_messages(name):
    inner = MIMEText("trong", "plain", "utf-8", policy=policy.SMTP)
    inner["Subject"] = "Thư bên trong"
    m = MIMEMultipart("mixed", policy=policy.SMTP)
    m["Subject"], m["From"] = "Chuyển tiếp", "a@b.vn, \"Họ, Tên\" <c@d.vn>"
    m.attach(MIMEMessage(inner, policy=policy.SMTP))
    m.attach(MIMEText("đọc\r\n", "plain", "utf-8", policy=policy.SMTP))
    write(name, m.as_bytes(policy=policy.SMTP), "Chuyển tiếp", ["|a@b.vn", "Họ, Tên|c@d.vn"], [("text/plain", None, "trong".encode()), ("text/plain", None, "đọc\r\n".encode())])


def code_page(name):
    text = "C\u00f4ng t\u00e1c"
    octets = (b"Subject: =?windows-1258?Q?C=F4ng?= =?windows-1258?Q?_t=E1c?=\r\nFrom: a@b.vn\r\nContent-Type: application/pdf; name*0*=windows-1258''C%F4ng%20;\r\n"
              b" name*1*=t%E1c.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n")
    write(name, octets, text, ["|a@b.vn"], [("application/pdf", text + ".pdf", b"ABC")])


modern("python-modern-nfc", SUBJECT, NAME)
modern("python-modern-nfd", unicodedata.normalize("NFD", SUBJECT), unicodedata.normalize("NFD", NAME))
legacy("python-legacy-words-in-name", NAME)
digest_of_messages("python-embedded-message")
code_page("windows-1258")
