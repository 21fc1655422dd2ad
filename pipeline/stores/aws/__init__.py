"""What the stores in AWS share: ``client`` makes boto3 clients, ``errors`` maps their errors."""
