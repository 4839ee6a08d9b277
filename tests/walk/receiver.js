// A receiver as anyone would write it in Node, without packages: it hashes the raw bytes.
const crypto = require('crypto');
const http = require('http');

const secret = process.argv[2];

function verifyWebhookSignature(payload, signature, secret) {
  const expectedSignature = crypto
    .createHmac('sha256', secret)
    .update(payload)
    .digest('hex');

  return crypto.timingSafeEqual(
    Buffer.from(signature),
    Buffer.from(expectedSignature)
  );
}

http.createServer((req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    let genuine = false;
    try {
      const payload = Buffer.concat(chunks);
      genuine = verifyWebhookSignature(payload, req.headers['x-webhook-signature'], secret);
    } catch (error) {
      genuine = false; // timingSafeEqual throws where the lengths differ
    }
    res.writeHead(genuine ? 200 : 401, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify({ received: genuine }));
  });
}).listen(0, '127.0.0.1', function () {
  console.log(this.address().port);
});
